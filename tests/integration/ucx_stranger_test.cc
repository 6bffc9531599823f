// The other side of a UCX connection was never one of ours.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/integration/ucx_test_service.h"
#include "transport/link.h"
#include "transport/rpc/lane.h"
#include "transport/service.h"
#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_door.h"
#include "transport/ucx/ucx_worker.h"
#include "transport/wire/codec.h"

namespace cistern::transport {
namespace {

class StrangerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = StartServer(
        {.ucx_address = "127.0.0.1:0", .hello_timeout = absl::Milliseconds(300)}, &service_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void ExpectServing() {
    auto link = Connect(server_->ucx_address(), {});
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_TRUE(CallFor<AdminReply>(**link, AdminRequest{.model_name = "ping"}).ok());
  }

  UcxTestService service_;
  std::unique_ptr<Server> server_;
};

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

// A UCX peer that sends what it likes.
class RoguePeer {
 public:
  explicit RoguePeer(const std::string& address) : events_(std::make_shared<Events>()) {
    admission_ = *KnockAt(ResolveHostPort(address, false)->front(), absl::Now() + absl::Seconds(5));
    lane_ = *Lane::Start("rogue");
    lane_->RunAndWait([&] {
      worker_ = *UcxWorker::Create(*UcxContext::Create(AF_INET), lane_.get());
      connection_ = *worker_->Connect(admission_.address, events_);
    });
  }
  ~RoguePeer() {
    lane_->RunAndWait([&] {
      worker_->CloseAll(absl::CancelledError("done"), false, absl::Seconds(5));
      worker_.reset();
    });
  }

  void Send(std::string message, std::vector<Slice> payload = {}) {
    connection_->Send(std::move(message), std::move(payload), Sent());
  }
  void SayHello() {
    Send(EncodeRequest({.call_id = 1, .deadline = absl::Seconds(5)}, HelloRequest{}));
    EXPECT_TRUE(Await([&] { return messages() >= 1; }));
  }
  int messages() const { return events_->messages; }
  bool closed() const { return events_->closed; }

 private:
  struct Events final : UcxEvents {
    void OnMessage(std::span<const std::byte>, UcxPayload) override { ++messages; }
    void OnBadFrame(const absl::Status&) override {}
    void OnClosed(const absl::Status&) override { closed = true; }
    std::atomic<int> messages{0};
    std::atomic<bool> closed{false};
  };

  std::shared_ptr<Events> events_;
  Admission admission_;
  std::unique_ptr<Lane> lane_;
  std::unique_ptr<UcxWorker> worker_;
  std::shared_ptr<UcxConnection> connection_;
};

// Sends single frames, not whole messages.
class RawUcxPeer {
 public:
  explicit RawUcxPeer(const std::string& address) {
    admission_ = *KnockAt(ResolveHostPort(address, false)->front(), absl::Now() + absl::Seconds(5));
    lane_ = *Lane::Start("raw");
    lane_->RunAndWait([&] {
      worker_ = *UcxWorker::Create(*UcxContext::Create(AF_INET), lane_.get());
      ucp_ep_params_t params = {};
      params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR |
                          UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
      params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
      params.sockaddr.addr = admission_.address.get();
      params.sockaddr.addrlen = admission_.address.bytes;
      params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
      params.err_handler.cb = [](void*, ucp_ep_h, ucs_status_t) {};
      EXPECT_EQ(ucp_ep_create(worker_->handle(), &params, &endpoint_), UCS_OK);
    });
    const std::string hello =
        EncodeRequest({.call_id = 1, .deadline = absl::Seconds(5)}, HelloRequest{});
    Send(UcxFrameKind::kCall, hello, {});
  }
  ~RawUcxPeer() {
    lane_->RunAndWait([&] {
      ucp_request_param_t param = {};
      param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
      param.flags = UCP_EP_CLOSE_FLAG_FORCE;
      const ucs_status_ptr_t closing = ucp_ep_close_nbx(endpoint_, &param);
      if (UCS_PTR_IS_PTR(closing)) ucp_request_free(closing);
      for (int i = 0; i < 1000; ++i) worker_->Progress();
      worker_.reset();
    });
  }

  // `data` must stay until the end.
  void Send(UcxFrameKind kind, const std::string& header, const std::string& data) {
    lane_->RunAndWait([&] {
      headers_.push_back(header);
      ucp_request_param_t param = {};
      param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
      param.flags = UCP_AM_SEND_FLAG_REPLY | UCP_AM_SEND_FLAG_EAGER;
      const ucs_status_ptr_t sending =
          ucp_am_send_nbx(endpoint_, static_cast<unsigned>(kind), headers_.back().data(),
                          header.size(), data.data(), data.size(), &param);
      if (UCS_PTR_IS_PTR(sending)) ucp_request_free(sending);
    });
  }

 private:
  Admission admission_;
  std::unique_ptr<Lane> lane_;
  std::unique_ptr<UcxWorker> worker_;
  ucp_ep_h endpoint_ = nullptr;
  std::deque<std::string> headers_;
};

template <typename Header>
std::string Bytes(const Header& header) {
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header));
}

std::string WriteOfAMegabyte() {
  return EncodeRequest(
      {.call_id = 2, .deadline = absl::Seconds(30), .send_bytes = uint64_t{1} << 20},
      WriteRequest{.reservations = {1 << 20, 0, 1}});
}

// Nobody else may be reading the environment.
class ByRendezvous {
 public:
  ByRendezvous() { setenv("CISTERN_UCX_PAYLOADS", "rendezvous", 1); }
  ~ByRendezvous() { unsetenv("CISTERN_UCX_PAYLOADS"); }
};

// 75 MiB in 300 payloads, whose messages never come.
TEST_F(StrangerTest, PayloadsWithoutMessagesAreBounded) {
  const std::string payload(256 << 10, 'x');
  RawUcxPeer peer(server_->ucx_address());
  ASSERT_TRUE(Await([&] { return service_.opened() == 1; }));
  for (uint64_t tag = 1; tag <= 300; ++tag) {
    const LateHeader header = {tag};
    peer.Send(UcxFrameKind::kPayload,
              std::string(reinterpret_cast<const char*>(&header), sizeof(header)), payload);
  }
  EXPECT_TRUE(Await([&] { return service_.closed() == 1; }));
  EXPECT_EQ(server_->stats().bad_messages, 1u);
  ExpectServing();
}

// By rendezvous. It lives, says so all the time, and does not take one payload: that one is not
// kept for ever.
TEST_F(StrangerTest, WhoNeverTakesAPayloadIsClosed) {
  server_.reset();
  const ByRendezvous while_this_runs;
  auto server = StartServer(
      {.ucx_address = "127.0.0.1:0", .transfer_timeout = absl::Milliseconds(200)}, &service_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  RoguePeer peer(server_->ucx_address());
  peer.SayHello();
  peer.Send(EncodeRequest(
      {.call_id = 2, .deadline = absl::Seconds(30), .receive_bytes = uint64_t{1} << 20},
      ReadRequest{.leases = {1 << 20, 0, 1}}));
  ASSERT_TRUE(Await([&] { return service_.replies() == 1; }));
  uint64_t call_id = 3;
  EXPECT_TRUE(Await([&] {
    peer.Send(EncodeRequest({.call_id = call_id++, .deadline = absl::Seconds(5)},
                            AdminRequest{.model_name = "ping"}));
    return service_.closed() == 1;
  }));
  EXPECT_TRUE(Await([&] { return service_.sent() == 1; }));
  ExpectServing();
}

// It announces a payload, and is asked for it.
TEST_F(StrangerTest, WhoNeverSendsAPayloadIsClosed) {
  server_.reset();
  auto server = StartServer(
      {.ucx_address = "127.0.0.1:0", .transfer_timeout = absl::Milliseconds(200)}, &service_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  RawUcxPeer peer(server_->ucx_address());
  ASSERT_TRUE(Await([&] { return service_.opened() == 1; }));
  const std::string write = WriteOfAMegabyte();
  peer.Send(UcxFrameKind::kMessage, Bytes(LongHeader{5, 1 << 20, PayloadWay::kPulled}), write);
  ASSERT_TRUE(Await([&] { return service_.receives_begun() == 1; }));
  EXPECT_TRUE(Await([&] { return service_.closed() == 1; }));
  EXPECT_TRUE(Await([&] { return service_.receives_failed() == 1; }));
  ExpectServing();
}

// A payload comes before it is asked for, twice the same piece, too short, or in no known way.
TEST_F(StrangerTest, PiecesThatCannotBeAreCountedAndClosed) {
  const std::string piece(kPieceBytes, 'x');
  const std::string part(100, 'x');
  const std::string write = WriteOfAMegabyte();
  const auto header = [](uint64_t offset) { return Bytes(PieceHeader{5, offset, 1}); };
  const auto announce = [&](RawUcxPeer& peer, PayloadWay way) {
    peer.Send(UcxFrameKind::kMessage, Bytes(LongHeader{5, 1 << 20, way}), write);
  };
  const std::vector<std::function<void(RawUcxPeer&)>> nonsense = {
      [&](RawUcxPeer& peer) { announce(peer, static_cast<PayloadWay>(7)); },
      [&](RawUcxPeer& peer) {
        announce(peer, PayloadWay::kPulled);
        peer.Send(UcxFrameKind::kPiece, header(0), part);
      },
      [&](RawUcxPeer& peer) {
        announce(peer, PayloadWay::kPulled);
        peer.Send(UcxFrameKind::kPiece, header(7), piece);
      },
      [&](RawUcxPeer& peer) { peer.Send(UcxFrameKind::kPiece, "short", part); },
      [&](RawUcxPeer& peer) { peer.Send(UcxFrameKind::kPull, "short", ""); },
  };
  for (size_t i = 0; i < nonsense.size(); ++i) {
    RawUcxPeer peer(server_->ucx_address());
    ASSERT_TRUE(Await([&] { return service_.opened() == i + 1; }));
    nonsense[i](peer);
    EXPECT_TRUE(Await([&] { return service_.closed() == i + 1; })) << i;
    EXPECT_EQ(server_->stats().bad_messages, i + 1);
  }
  ExpectServing();
}

// Words about payloads that are not there, or not any more: as may happen to anybody.
TEST_F(StrangerTest, WordsAboutOtherPayloadsAreNothing) {
  const std::string part(100, 'x');
  RawUcxPeer peer(server_->ucx_address());
  ASSERT_TRUE(Await([&] { return service_.opened() == 1; }));
  peer.Send(UcxFrameKind::kPiece, Bytes(PieceHeader{77, 0, 1}), part);
  for (const auto kind : {UcxFrameKind::kPull, UcxFrameKind::kRefuse, UcxFrameKind::kWithdrawn}) {
    peer.Send(kind, Bytes(LateHeader{77}), "");
  }
  const std::string ping = EncodeRequest({.call_id = 9, .deadline = absl::Seconds(5)},
                                         AdminRequest{.model_name = "silent"});
  const uint64_t before = server_->stats().calls;
  peer.Send(UcxFrameKind::kCall, ping, "");
  EXPECT_TRUE(Await([&] { return server_->stats().calls == before + 1; }));
  EXPECT_EQ(server_->stats().bad_messages, 0u);
  EXPECT_EQ(service_.closed(), 0u);
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

TEST_F(StrangerTest, PayloadOfAnotherSizeThanSaidIsCountedAndNotTaken) {
  RoguePeer peer(server_->ucx_address());
  peer.SayHello();
  for (const uint64_t bytes : {uint64_t{100}, uint64_t{1 << 20}}) {
    const uint64_t before = server_->stats().bad_messages;
    const int messages = peer.messages();
    peer.Send(EncodeRequest({.call_id = bytes, .deadline = absl::Seconds(5), .send_bytes = 50},
                            WriteRequest{.reservations = {50, 0, 1}}),
              PatternPieces(bytes, 0, 1));
    EXPECT_TRUE(Await([&] { return peer.messages() == messages + 1; }));
    EXPECT_EQ(server_->stats().bad_messages, before + 1);
  }
  EXPECT_EQ(service_.receives_begun(), 0u);
  ExpectServing();
}

}  // namespace
}  // namespace cistern::transport
