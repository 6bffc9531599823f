// A unix socket's server against peers that do not keep to the frames. Each is cut off and counted;
// others are served on.
#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"

#include "tests/unit/transport/raw_peer.h"
#include "tests/unit/transport/test_service.h"
#include "tests/unit/transport/test_socket.h"
#include "transport/link.h"
#include "transport/shm/buffer_table.h"
#include "transport/shm/memfd.h"
#include "transport/shm/tickets.h"

namespace cistern::transport {
namespace {

using testing::HasSubstr;

class HostilePeerTest : public testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void Start(ServerOptions options) {
    server_.reset();
    options.unix_path = path_.path();
    auto server = StartServer(options, &service_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  // Whatever a test did, the node lives on and its books are right.
  void TearDown() override {
    auto link = Connect(absl::StrCat("unix:", path_.path()), {});
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_EQ(*Echo(**link, "still serving"), "still serving");
    EXPECT_EQ(*ReadPayload(**link, 5, 10'000, 2), Payload(5, 10'000));
    link->reset();
    ASSERT_TRUE(service_.WaitForOpen(0));
    EXPECT_TRUE(service_.protocol_kept());
  }

  void ExpectCutOff(RawPeer& peer, uint64_t bad_messages) {
    EXPECT_TRUE(peer.WaitForEnd());
    ASSERT_TRUE(service_.WaitForOpen(0));
    EXPECT_EQ(server_->stats().bad_messages, bad_messages);
  }
  static UniqueFd Memfd(uint64_t bytes) { return std::move(CreateMemfd("test", bytes)).value(); }

  SocketPath path_;
  TestService service_;
  std::unique_ptr<Server> server_;
};

RequestHead Head(uint64_t call_id) { return {.call_id = call_id, .deadline = absl::Seconds(10)}; }

TEST_F(HostilePeerTest, GarbageInsteadOfAHello) {
  RawPeer peer(path_.path());
  peer.SendBytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ExpectCutOff(peer, 1);
  EXPECT_EQ(service_.opened(), 0);
}

TEST_F(HostilePeerTest, GarbageAfterAGoodHello) {
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendBytes(std::string(1000, 'x'));
  ExpectCutOff(peer, 1);
  EXPECT_EQ(service_.opened(), 1);
  EXPECT_EQ(service_.closed(), 1);
}

TEST_F(HostilePeerTest, FramesThatAreWrong) {
  const FrameHeader wrong[] = {
      {.magic = 7},
      {.kind = static_cast<FrameKind>(0)},
      {.kind = static_cast<FrameKind>(6)},
      {.flags = 4},
      {.reserved = 1},
      {.length = static_cast<uint32_t>(kMaxFrameBytes + 1)},
      {.length = 0xffffffff},
      {.kind = FrameKind::kBuffer},  // without a notice
      {.kind = FrameKind::kDropBuffer},
  };
  uint64_t bad = 0;
  for (const FrameHeader& header : wrong) {
    RawPeer peer(path_.path());
    peer.Hello();
    peer.SendFrame(header, "");
    SCOPED_TRACE(bad);
    ExpectCutOff(peer, ++bad);
  }
}

TEST_F(HostilePeerTest, AMessageThatCannotBeRead) {
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendFrame({}, "this is no message");
  ExpectCutOff(peer, 1);
}

TEST_F(HostilePeerTest, AMessageThatCanBeAnsweredIsAnswered) {
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendMessage(Head(7), AdminRequest{.verb = static_cast<AdminVerb>(77)});
  auto reply = peer.Receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->head.call_id, 7);
  EXPECT_EQ(std::get<ErrorReply>(reply->reply).ToStatus().code(),
            absl::StatusCode::kInvalidArgument);
  peer.SendMessage(Head(8), AdminRequest{.model_name = "fine"});
  reply = peer.Receive();
  ASSERT_TRUE(reply.has_value()) << "the session goes on";
  EXPECT_EQ(std::get<AdminReply>(reply->reply).json, "fine");
  EXPECT_EQ(server_->stats().bad_messages, 1);
}

TEST_F(HostilePeerTest, TheHelloComesFirst) {
  RawPeer peer(path_.path());
  peer.SendMessage(Head(1), AdminRequest{});
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(std::get<ErrorReply>(reply->reply).ToStatus().code(),
            absl::StatusCode::kFailedPrecondition);
  ExpectCutOff(peer, 1);
}

TEST_F(HostilePeerTest, AndOnlyOnce) {
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendMessage(Head(2), HelloRequest{});
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(std::get<ErrorReply>(reply->reply).ToStatus().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(service_.opened(), 1);
}

TEST_F(HostilePeerTest, AnotherVersionIsToldBothVersions) {
  RawPeer peer(path_.path());
  peer.SendMessage(Head(1), HelloRequest{.version = 4711});
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply.has_value());
  const absl::Status status = std::get<ErrorReply>(reply->reply).ToStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4711"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("version ", kProtocolVersion)));
  ExpectCutOff(peer, 1);
  EXPECT_EQ(service_.opened(), 0);
}

TEST_F(HostilePeerTest, WhoNeverSpeaksIsCutOff) {
  Start({.hello_timeout = absl::Milliseconds(30)});
  RawPeer silent(path_.path());
  RawPeer half(path_.path());
  half.SendBytes(RawBytes(FrameHeader{.length = 1000}));
  EXPECT_TRUE(silent.WaitForEnd());
  EXPECT_TRUE(half.WaitForEnd());
}

TEST_F(HostilePeerTest, ASessionThatIsOpenMayBeSilent) {
  Start({.hello_timeout = absl::Milliseconds(30)});
  RawPeer silent(path_.path());
  RawPeer peer(path_.path());
  peer.Hello();
  EXPECT_TRUE(silent.WaitForEnd()) << "the time is up";
  peer.SendMessage(Head(2), AdminRequest{.model_name = "hello"});
  EXPECT_TRUE(peer.Receive().has_value());
}

TEST_F(HostilePeerTest, TooManyStrangersAreSentAway) {
  constexpr int kAllowed = 1 + 64;  // a session, and 64 that have not said hello
  Start({.max_sessions = 1, .hello_timeout = absl::Minutes(1)});
  std::vector<std::unique_ptr<RawPeer>> strangers;
  std::vector<pollfd> ends;
  for (int i = 0; i < kAllowed + 3; ++i) {
    strangers.push_back(std::make_unique<RawPeer>(path_.path()));
    ends.push_back({.fd = strangers.back()->socket(), .events = POLLIN});
  }
  const absl::Time patience = absl::Now() + absl::Seconds(20);
  const auto ended = [&] {
    poll(ends.data(), ends.size(), 10);
    return std::count_if(ends.begin(), ends.end(),
                         [](const pollfd& end) { return end.revents != 0; });
  };
  while (ended() < 3 && absl::Now() < patience) {
  }
  EXPECT_EQ(ended(), 3);
  strangers.clear();
  // There is room again, as soon as the node has seen them go.
  while (!Connect(absl::StrCat("unix:", path_.path()), {}).ok()) ASSERT_LT(absl::Now(), patience);
}

TEST_F(HostilePeerTest, EndsInTheMiddleOfAFrame) {
  {
    RawPeer peer(path_.path());
    peer.Hello();
    peer.SendBytes(RawBytes(FrameHeader{.length = 1000}) + std::string(500, 'x'));
  }
  ASSERT_TRUE(service_.WaitForClosed(1));
}

TEST_F(HostilePeerTest, ByteByByteIsFine) {
  RawPeer peer(path_.path());
  peer.Hello();
  const std::string message = EncodeRequest(Head(2), AdminRequest{.model_name = "slowly"});
  for (const char c :
       RawBytes(FrameHeader{.length = static_cast<uint32_t>(message.size())}) + message) {
    peer.SendBytes(std::string(1, c));
  }
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(std::get<AdminReply>(reply->reply).json, "slowly");
}

// It asks and asks and never reads: what waits for it has a bound.
TEST_F(HostilePeerTest, WhoDoesNotReadIsCutOff) {
  RawPeer peer(path_.path());
  peer.Hello();
  const AdminRequest request{.model_name = std::string(8 << 20, 'x')};
  for (uint64_t i = 0; i < 20 && service_.closed() == 0; ++i)
    peer.SendMessage(Head(2 + i), request);
  ASSERT_TRUE(service_.WaitForClosed(1));
}

// ---- File descriptors

TEST_F(HostilePeerTest, BuffersThatAreNotWhatTheyShouldBe) {
  const UniqueFd unsealed(memfd_create("x", MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), 8192), 0);
  const UniqueFd grow_only(memfd_create("x", MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(grow_only.get(), 8192), 0);
  ASSERT_EQ(fcntl(grow_only.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  const UniqueFd read_only(memfd_create("x", MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(read_only.get(), 8192), 0);
  ASSERT_EQ(fcntl(read_only.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
  const UniqueFd short_one = Memfd(4096);
  const UniqueFd not_a_file(eventfd(0, 0));
  const UniqueFd on_disk(open(path_.directory().c_str(), O_TMPFILE | O_RDWR, 0600));
  ASSERT_EQ(ftruncate(on_disk.get(), 8192), 0);
  const UniqueFd directory(open(path_.directory().c_str(), O_RDONLY));
  uint64_t bad = 0;
  for (const UniqueFd* fd :
       {&unsealed, &grow_only, &read_only, &short_one, &not_a_file, &on_disk, &directory}) {
    for (const FrameKind kind : {FrameKind::kBuffer, FrameKind::kTickets}) {
      SCOPED_TRACE(bad);
      RawPeer peer(path_.path());
      peer.Hello();
      peer.SendNotice(kind, {.buffer = 1, .bytes = 8192}, {fd->get()});
      ExpectCutOff(peer, ++bad);
    }
  }
}

TEST_F(HostilePeerTest, BufferNoticesThatAreWrong) {
  const UniqueFd good = Memfd(8192);
  uint64_t bad = 0;
  const auto refuse = [&](const std::function<void(RawPeer&)>& send) {
    SCOPED_TRACE(bad);
    RawPeer peer(path_.path());
    peer.Hello();
    send(peer);
    ExpectCutOff(peer, ++bad);
  };
  refuse([&](RawPeer& peer) {
    peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {});
  });  // no descriptor
  refuse([&](RawPeer& peer) { peer.SendNotice(FrameKind::kBuffer, {1, 0, 0}, {good.get()}); });
  refuse([&](RawPeer& peer) { peer.SendNotice(FrameKind::kBuffer, {1, 0, 4096}, {good.get()}); });
  refuse([&](RawPeer& peer) { peer.SendNotice(FrameKind::kBuffer, {1, 0, ~0ull}, {good.get()}); });
  refuse([&](RawPeer& peer) { peer.SendNotice(FrameKind::kTickets, {1, 0, 8191}, {good.get()}); });
  refuse([&](RawPeer& peer) {
    peer.SendNotice(FrameKind::kDropBuffer, {1, 0, 0}, {});
  });  // there is none
  refuse([&](RawPeer& peer) {
    peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
    peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
  });
  refuse([&](RawPeer& peer) {
    peer.SendNotice(FrameKind::kTickets, {0, 0, 8192}, {good.get()});
    peer.SendNotice(FrameKind::kTickets, {0, 0, 8192}, {good.get()});
  });
  refuse([&](RawPeer& peer) {  // a descriptor that no frame announces
    peer.SendFrame({}, EncodeRequest(Head(2), AdminRequest{}), {good.get()});
  });
  refuse([&](RawPeer& peer) {  // more than one
    peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get(), good.get()});
  });
  refuse([&](RawPeer& peer) {  // more than the node has room for
    peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, std::vector<int>(100, good.get()));
  });
}

TEST_F(HostilePeerTest, ABufferBeforeTheHello) {
  const UniqueFd good = Memfd(8192);
  RawPeer peer(path_.path());
  peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
  ExpectCutOff(peer, 1);
}

TEST_F(HostilePeerTest, TooManyBuffers) {
  const UniqueFd good = Memfd(4096);
  RawPeer peer(path_.path());
  peer.Hello();
  for (uint32_t i = 0; i < kMaxBuffers; ++i)
    peer.SendNotice(FrameKind::kBuffer, {i, 0, 4096}, {good.get()});
  peer.SendMessage(Head(2), AdminRequest{.model_name = "so many are fine"});
  ASSERT_TRUE(peer.Receive().has_value());
  peer.SendNotice(FrameKind::kBuffer, {kMaxBuffers, 0, 4096}, {good.get()});
  ExpectCutOff(peer, 1);
}

// Address space is what costs: the files have no pages.
TEST_F(HostilePeerTest, TooManyBytesOfBuffers) {
  Start({.max_session_buffer_bytes = 1 << 20});
  const UniqueFd half = Memfd(512 << 10), small = Memfd(4096);
  RawPeer peer(path_.path());
  peer.Hello();
  for (uint32_t i = 0; i < 10; ++i) {  // what is dropped counts no more
    peer.SendNotice(FrameKind::kBuffer, {2 * i, 0, 512 << 10}, {half.get()});
    peer.SendNotice(FrameKind::kBuffer, {2 * i + 1, 0, 512 << 10}, {half.get()});
    peer.SendNotice(FrameKind::kDropBuffer, {2 * i, 0, 0}, {});
    peer.SendNotice(FrameKind::kDropBuffer, {2 * i + 1, 0, 0}, {});
  }
  peer.SendNotice(FrameKind::kBuffer, {100, 0, 512 << 10}, {half.get()});
  peer.SendNotice(FrameKind::kTickets, {0, 0, 512 << 10}, {half.get()});
  peer.SendMessage(Head(2), AdminRequest{.model_name = "as much is fine"});
  ASSERT_TRUE(peer.Receive().has_value());
  peer.SendNotice(FrameKind::kBuffer, {101, 0, 4096}, {small.get()});
  ExpectCutOff(peer, 1);
}

TEST_F(HostilePeerTest, TooManyBytesOfBuffersOfAllPeersTogether) {
  Start({.max_session_buffer_bytes = 1 << 20, .max_buffer_bytes = 3 << 20});
  const UniqueFd whole = Memfd(1 << 20);
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 3; ++i) {
    peers.push_back(std::make_unique<RawPeer>(path_.path()));
    peers.back()->Hello();
    peers.back()->SendNotice(FrameKind::kBuffer, {1, 0, 1 << 20}, {whole.get()});
    peers.back()->SendMessage(Head(2), AdminRequest{.model_name = "fine"});
    ASSERT_TRUE(peers.back()->Receive().has_value());
  }
  RawPeer one_more(path_.path());
  one_more.Hello();
  one_more.SendNotice(FrameKind::kBuffer, {1, 0, 1 << 20}, {whole.get()});
  EXPECT_TRUE(one_more.WaitForEnd());
  EXPECT_EQ(server_->stats().bad_messages, 1u);
  peers.clear();
  ASSERT_TRUE(service_.WaitForOpen(0));
}

TEST(BufferTableTest, WhatIsInUseCountsAfterItsDrop) {
  const auto all = std::make_shared<ByteBudget>(8192);
  BufferTable table(all, 4096);
  const auto memfd = [] { return std::move(CreateMemfd("test", 4096)).value(); };
  ASSERT_TRUE(table.Add({1, 0, 4096}, memfd()).ok());
  const PayloadTable header{.send_slices = 1};
  const WireSlice slice{.buffer = 1, .offset = 0, .bytes = 100};
  std::string body(reinterpret_cast<const char*>(&header), sizeof(header));
  body.append(reinterpret_cast<const char*>(&slice), sizeof(slice));
  std::span<const std::byte> bytes = std::as_bytes(std::span(body));
  absl::StatusOr<ResolvedPayload> payload = table.Resolve(&bytes);
  ASSERT_TRUE(payload.ok()) << payload.status();
  ASSERT_TRUE(table.Drop({1, 0, 0}).ok());
  const absl::Status over = table.Add({2, 0, 4096}, memfd());
  EXPECT_EQ(over.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(over.message()), HasSubstr("4096 of 4096"));
  EXPECT_EQ(all->used(), 4096u);
  payload = ResolvedPayload();
  EXPECT_EQ(all->used(), 0u);
  EXPECT_TRUE(table.Add({2, 0, 4096}, memfd()).ok());
}

TEST_F(HostilePeerTest, PayloadsThatLieOutside) {
  const UniqueFd good = Memfd(8192);
  const UniqueFd tickets = Memfd(512);
  const auto refuse = [&](const PayloadTable& table, const std::vector<WireSlice>& slices) {
    const uint64_t bad = server_->stats().bad_messages;
    RawPeer peer(path_.path());
    peer.Hello();
    peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
    peer.SendNotice(FrameKind::kTickets, {0, 0, 512}, {tickets.get()});
    peer.SendWithPayload(Head(2), WriteRequest{}, table, slices);
    ExpectCutOff(peer, bad + 1);
  };
  constexpr uint64_t kHuge = ~uint64_t{0};
  refuse({.send_slices = 1}, {{.buffer = 2, .offset = 0, .bytes = 1}});
  refuse({.send_slices = 1}, {{.buffer = 1, .offset = 0, .bytes = 8193}});
  refuse({.send_slices = 1}, {{.buffer = 1, .offset = 8192, .bytes = 1}});
  refuse({.send_slices = 1}, {{.buffer = 1, .offset = 8193, .bytes = 0}});
  refuse({.send_slices = 1}, {{.buffer = 1, .offset = 4096, .bytes = kHuge - 4095}});  // wraps to 0
  refuse({.send_slices = 1}, {{.buffer = 1, .offset = kHuge, .bytes = 1}});
  refuse({.send_slices = 1}, {{.buffer = 1, .offset = 1, .bytes = kHuge}});
  refuse({.receive_slices = 1}, {{.buffer = 1, .offset = 0, .bytes = 8193}});
  refuse({.receive_slices = 1, .ticket = 8}, {{.buffer = 1, .offset = 0, .bytes = 1}});
  refuse({.receive_slices = 1, .ticket = 0xffffffff}, {{.buffer = 1, .offset = 0, .bytes = 1}});
  refuse({.send_slices = 4097}, std::vector<WireSlice>(4097, {.buffer = 1}));
  refuse({.send_slices = 0xffffffff, .receive_slices = 0xffffffff}, {});
  refuse({.send_slices = 4000}, {});  // more than there are bytes
}

TEST_F(HostilePeerTest, ReceiveSlicesNeedTickets) {
  const UniqueFd good = Memfd(8192);
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
  peer.SendWithPayload(Head(2), ReadRequest{}, {.receive_slices = 1},
                       {{.buffer = 1, .offset = 0, .bytes = 1}});
  ExpectCutOff(peer, 1);
}

TEST_F(HostilePeerTest, MessageAndSlicesMustAgree) {
  const UniqueFd good = Memfd(8192);
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
  RequestHead head = Head(2);
  head.send_bytes = 99;
  peer.SendWithPayload(head, WriteRequest{}, {.send_slices = 1},
                       {{.buffer = 1, .offset = 0, .bytes = 100}});
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(std::get<ErrorReply>(reply->reply).ToStatus().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(server_->stats().bad_messages, 1);
}

// The worker says one size in the message and offers less room in its slices: the node must not
// write past them.
TEST_F(HostilePeerTest, TheNodeNeverWritesPastTheReceiveSlices) {
  const UniqueFd good = Memfd(8192);
  const UniqueFd tickets = Memfd(512);
  auto words = *Mapping::Map(tickets.get(), 512, Mapping::Access::kReadWrite);
  auto bytes = *Mapping::Map(good.get(), 8192, Mapping::Access::kReadWrite);
  const uint64_t armed = 4 | kTicketArmed;
  memcpy(words->data(), &armed, sizeof(armed));
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
  peer.SendNotice(FrameKind::kTickets, {0, 0, 512}, {tickets.get()});
  RequestHead head = Head(2);
  head.receive_bytes = 1000;
  peer.SendWithPayload(head, ReadRequest{.layer_begin = 1, .layer_end = 1000},
                       {.receive_slices = 1, .ticket_word = armed},
                       {{.buffer = 1, .offset = 0, .bytes = 100}});
  ASSERT_TRUE(peer.Receive().has_value());
  for (size_t i = 100; i < 8192; ++i) ASSERT_EQ(bytes->data()[i], std::byte{0}) << i;
}

// A worker whose ticket has been withdrawn gets nothing, not even the message.
TEST_F(HostilePeerTest, AWithdrawnTicketStopsTheAnswer) {
  const UniqueFd good = Memfd(8192);
  const UniqueFd tickets = Memfd(512);
  auto words = *Mapping::Map(tickets.get(), 512, Mapping::Access::kReadWrite);
  const uint64_t withdrawn = 4 | kTicketWithdrawn;
  memcpy(words->data() + 64, &withdrawn, sizeof(withdrawn));
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
  peer.SendNotice(FrameKind::kTickets, {0, 0, 512}, {tickets.get()});
  RequestHead head = Head(2);
  head.receive_bytes = 100;
  peer.SendWithPayload(head, ReadRequest{.layer_begin = 1, .layer_end = 100},
                       {.receive_slices = 1, .ticket = 1, .ticket_word = 4 | kTicketArmed},
                       {{.buffer = 1, .offset = 0, .bytes = 100}});
  peer.SendMessage(Head(3), AdminRequest{.model_name = "next"});
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->head.call_id, 3);
  auto bytes = *Mapping::Map(good.get(), 8192, Mapping::Access::kRead);
  for (size_t i = 0; i < 8192; ++i) ASSERT_EQ(bytes->data()[i], std::byte{0}) << i;
}

// A worker that has stopped waiting may use its buffer for something else: what the node has read
// there is not what was sent.
TEST_F(HostilePeerTest, AWithdrawnTicketMakesAWriteFail) {
  const UniqueFd good = Memfd(8192);
  const UniqueFd tickets = Memfd(512);
  auto words = *Mapping::Map(tickets.get(), 512, Mapping::Access::kReadWrite);
  auto bytes = *Mapping::Map(good.get(), 8192, Mapping::Access::kReadWrite);
  const std::vector<std::byte> payload = Payload(7, 100);
  memcpy(bytes->data(), payload.data(), payload.size());
  RawPeer peer(path_.path());
  peer.Hello();
  peer.SendNotice(FrameKind::kBuffer, {1, 0, 8192}, {good.get()});
  peer.SendNotice(FrameKind::kTickets, {0, 0, 512}, {tickets.get()});
  uint64_t call_id = 2;
  for (const uint64_t state : {kTicketArmed, kTicketWithdrawn}) {
    const uint64_t word = call_id << 2 | state;
    memcpy(words->data() + 64, &word, sizeof(word));
    RequestHead head = Head(call_id);
    head.send_bytes = 100;
    peer.SendWithPayload(
        head, WriteRequest{.checksum = 7},
        {.send_slices = 1, .ticket = 1, .ticket_word = call_id << 2 | kTicketArmed},
        {{.buffer = 1, .offset = 0, .bytes = 100}});
    const auto reply = peer.Receive();
    ASSERT_TRUE(reply.has_value());
    const auto* error = std::get_if<ErrorReply>(&reply->reply);
    if (state == kTicketArmed) {
      EXPECT_EQ(error, nullptr);
    } else {
      ASSERT_NE(error, nullptr);
      EXPECT_EQ(error->ToStatus().code(), absl::StatusCode::kUnavailable);
    }
    ++call_id;
  }
}

}  // namespace
}  // namespace cistern::transport
