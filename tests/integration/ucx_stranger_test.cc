// The other side of a UCX connection was never one of ours: the door, the hello, the messages.
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/integration/ucx_strangers.h"

namespace cistern::transport {
namespace {

int RawConnection(const std::string& address) {
  auto resolved = ResolveHostPort(address, false);
  if (!resolved.ok()) return -1;
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, resolved->front().get(), resolved->front().bytes) != 0) return -1;
  return fd;
}

// What it answers until it hangs up.
std::string ReadToEnd(int fd) {
  std::string all;
  char bytes[256];
  ssize_t got;
  while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0) all.append(bytes, got);
  close(fd);
  return all;
}

// Everything that is not a knock ends the same way, whatever UCX would have made of it.
TEST_F(StrangerTest, GarbageAtTheDoorIsCountedAndClosed) {
  std::string knock(sizeof(Knock), 0);
  const Knock good = MakeKnock();
  memcpy(knock.data(), &good, sizeof(good));
  std::string almost = knock;
  almost[0] ^= 1;
  std::vector<std::string> garbage = {almost, std::string(16, '\0'), std::string(5000, '\0'),
                                      std::string(100000, '\xa5'), "GET / HTTP/1.1\r\n\r\n"};
  for (const std::string& bytes : garbage) {
    const uint64_t before = server_->stats().bad_messages;
    const int fd = RawConnection(server_->ucx_address());
    ASSERT_GE(fd, 0);
    EXPECT_GT(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    EXPECT_EQ(ReadToEnd(fd), "");
    EXPECT_EQ(server_->stats().bad_messages, before + 1);
  }
  ExpectServing();
  EXPECT_EQ(service_.opened(), 1u);
}

TEST_F(StrangerTest, HalfAKnockIsCountedNoneIsNot) {
  const int nothing = RawConnection(server_->ucx_address());
  close(nothing);
  const int half = RawConnection(server_->ucx_address());
  const Knock knock = MakeKnock();
  ASSERT_EQ(send(half, &knock, 7, MSG_NOSIGNAL), 7);
  close(half);
  EXPECT_TRUE(Await([&] { return server_->stats().bad_messages == 1; }));
  ExpectServing();
}

TEST_F(StrangerTest, WhoSaysNothingIsClosedInTime) {
  const absl::Time start = absl::Now();
  const int silent = RawConnection(server_->ucx_address());
  const int knocks = RawConnection(server_->ucx_address());  // and never comes by UCX
  const Knock knock = MakeKnock();
  ASSERT_EQ(send(knocks, &knock, sizeof(knock), MSG_NOSIGNAL), ssize_t{sizeof(knock)});
  EXPECT_EQ(ReadToEnd(silent), "");
  EXPECT_EQ(ReadToEnd(knocks).size(), sizeof(Answer));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(250));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  ExpectServing();
}

TEST_F(StrangerTest, AnotherVersionOfTheDoorIsToldOurs) {
  const int fd = RawConnection(server_->ucx_address());
  Knock knock = MakeKnock();
  knock.version = kDoorVersion + 1;
  ASSERT_EQ(send(fd, &knock, sizeof(knock), MSG_NOSIGNAL), ssize_t{sizeof(knock)});
  const std::string said = ReadToEnd(fd);
  Answer answer = {};
  ASSERT_EQ(said.size(), sizeof(answer));
  memcpy(&answer, said.data(), sizeof(answer));
  EXPECT_EQ(answer.version, kDoorVersion);
  EXPECT_EQ(answer.port, 0u);
  EXPECT_EQ(server_->stats().bad_messages, 1u);
}

// The other way round: what a worker makes of a door that is not a node's.
TEST(UcxDoorTest, WhatIsNoNodeIsSaidSo) {
  SocketAddress any;
  any = ResolveHostPort("127.0.0.1:0", true)->front();
  auto door = OpenDoor(any);
  ASSERT_TRUE(door.ok()) << door.status();
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  ASSERT_EQ(getsockname(door->get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
  const std::string where = FormatSocketAddress(bound);

  Answer other_version = MakeAnswer(0);
  other_version.version = kDoorVersion + 1;
  const Answer full = AnswerFor(absl::ResourceExhaustedError("no memory"));
  const Answer cannot = AnswerFor(absl::InternalError("no device"));
  const auto bytes_of = [](const Answer& answer) {
    return std::string(reinterpret_cast<const char*>(&answer), sizeof(answer));
  };
  const std::vector<std::pair<std::string, absl::StatusCode>> cases = {
      {"HTTP/1.1 400 Bad Request\r\n\r\n", absl::StatusCode::kFailedPrecondition},
      {bytes_of(other_version), absl::StatusCode::kFailedPrecondition},
      {bytes_of(full), absl::StatusCode::kResourceExhausted},
      {bytes_of(cannot), absl::StatusCode::kUnavailable},  // another address may do
      {"", absl::StatusCode::kUnavailable},
      {bytes_of(MakeAnswer(1)), absl::StatusCode::kUnavailable},  // nobody listens at port 1
  };
  for (const auto& [says, code] : cases) {
    std::thread node([&, says = says] {
      pollfd wait = {.fd = door->get(), .events = POLLIN, .revents = 0};
      poll(&wait, 1, 10000);
      const int fd = accept(door->get(), nullptr, nullptr);
      Knock knock;
      EXPECT_EQ(recv(fd, &knock, sizeof(knock), MSG_WAITALL), ssize_t{sizeof(knock)});
      EXPECT_TRUE(IsKnock(knock));
      EXPECT_EQ(send(fd, says.data(), says.size(), MSG_NOSIGNAL), ssize_t(says.size()));
      close(fd);
    });
    const absl::Status status = Connect(where, {}).status();
    EXPECT_EQ(status.code(), code) << status;
    node.join();
  }
}

TEST_F(StrangerTest, WhoSaysNoHelloIsClosed) {
  RoguePeer peer(server_->ucx_address());
  EXPECT_TRUE(Await([&] { return peer.closed(); }));
  EXPECT_EQ(service_.opened(), 0u);
  ExpectServing();
}

TEST_F(StrangerTest, GarbageIsCountedAndClosed) {
  for (const size_t bytes : {1, 40, 5000, 20000, 1000000}) {  // header, data, rendezvous
    const uint64_t before = server_->stats().bad_messages;
    RoguePeer peer(server_->ucx_address());
    peer.Send(std::string(bytes, 'x'));
    EXPECT_TRUE(Await([&] { return peer.closed(); })) << bytes;
    EXPECT_EQ(server_->stats().bad_messages, before + 1) << bytes;
  }
  EXPECT_EQ(service_.opened(), 0u);
  ExpectServing();
}

TEST_F(StrangerTest, GarbageAfterTheHelloIsCountedAndClosed) {
  RoguePeer peer(server_->ucx_address());
  peer.SayHello();
  peer.Send(std::string(100, 'x'));
  EXPECT_TRUE(Await([&] { return peer.closed() && service_.closed() == 1; }));
  EXPECT_EQ(server_->stats().bad_messages, 1u);
}

TEST_F(StrangerTest, AnotherVersionIsToldSo) {
  RoguePeer peer(server_->ucx_address());
  peer.Send(EncodeRequest({.call_id = 1, .deadline = absl::Seconds(5)},
                          HelloRequest{.version = kProtocolVersion + 1}));
  EXPECT_TRUE(Await([&] { return peer.closed(); }));
  EXPECT_EQ(peer.messages(), 1);  // the reason came before the end
  EXPECT_EQ(server_->stats().bad_messages, 1u);
}

}  // namespace
}  // namespace cistern::transport
