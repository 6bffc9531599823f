// What only a unix link does: the arena mapped, buffers shared, and nodes that go wrong.
#include <cstring>
#include <functional>
#include <future>
#include <thread>

#include <sys/mman.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"

#include "tests/unit/transport/raw_peer.h"
#include "tests/unit/transport/test_arena.h"
#include "tests/unit/transport/test_service.h"
#include "tests/unit/transport/test_socket.h"
#include "transport/rpc/client_core.h"
#include "transport/shm/arena_view.h"
#include "transport/shm/buffer_pool.h"
#include "transport/shm/tickets.h"
#include "transport/shm/unix_socket.h"

namespace cistern::transport {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

constexpr uint64_t kArenaBytes = 64 << 10;
constexpr uint64_t kIncarnation = 4711;

class UnixLinkTest : public testing::Test {
 protected:
  absl::Status Start(ServerOptions options = {}) {
    options.unix_path = path_.path();
    auto server = StartServer(options, &service_);
    if (server.ok()) server_ = *std::move(server);
    return server.status();
  }
  ServerOptions WithArena() {
    return {.incarnation = kIncarnation, .arena_fd = arena_.fd.get(), .arena_bytes = kArenaBytes};
  }
  std::unique_ptr<Link> Connect(const LinkOptions& options = {}) {
    auto link = transport::Connect(absl::StrCat("unix:", path_.path()), options);
    EXPECT_TRUE(link.ok()) << link.status();
    return link.ok() ? *std::move(link) : nullptr;
  }

  SocketPath path_;
  TestService service_;
  TestArena arena_{ArenaHeaderFor(kArenaBytes, kIncarnation)};
  std::unique_ptr<Server> server_;
};

// ---- The arena

TEST_F(UnixLinkTest, TheArenaIsMapped) {
  ASSERT_EQ(Start(WithArena()), absl::OkStatus());
  auto link = Connect();
  ASSERT_NE(link->arena(), nullptr);
  EXPECT_EQ(link->node().arena_bytes, kArenaBytes);
  EXPECT_TRUE(service_.last_info().maps_arena);
  EXPECT_THAT(service_.last_info().peer, HasSubstr(absl::StrCat("pid ", getpid())));
  EXPECT_EQ(memcmp(link->arena(), arena_.data, kArenaBytes), 0);
  memcpy(arena_.data + 10'000, "news", 4);  // the node writes on
  EXPECT_EQ(memcmp(link->arena() + 10'000, "news", 4), 0);
}

TEST_F(UnixLinkTest, TheArenaCannotBeWrittenByAWorker) {
  ASSERT_EQ(Start(WithArena()), absl::OkStatus());
  auto link = Connect();
  void* arena = const_cast<std::byte*>(link->arena());
  EXPECT_EQ(mprotect(arena, kArenaBytes, PROT_READ | PROT_WRITE), -1);
  // Nor can the descriptor that a worker receives be mapped so.
  EXPECT_EQ(Mapping::Map(arena_.fd.get(), kArenaBytes, Mapping::Access::kReadWrite).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(pwrite(arena_.fd.get(), "x", 1, 0), -1);
}

TEST_F(UnixLinkTest, MappingCanBeDeclinedByEitherSide) {
  ASSERT_EQ(Start(WithArena()), absl::OkStatus());
  auto link = Connect({.want_mapping = false});
  EXPECT_EQ(link->arena(), nullptr);
  EXPECT_EQ(link->node().arena_bytes, 0);
  EXPECT_FALSE(service_.last_info().maps_arena);
  EXPECT_EQ(*ReadPayload(*link, 3, 100'000), Payload(3, 100'000)) << "by copy";

  server_.reset();
  ServerOptions options = WithArena();
  options.allow_mapping = false;
  ASSERT_EQ(Start(options), absl::OkStatus());
  link = Connect();
  EXPECT_EQ(link->arena(), nullptr);
  EXPECT_EQ(*ReadPayload(*link, 4, 100'000), Payload(4, 100'000));
}

TEST_F(UnixLinkTest, AnArenaThatWorkersCouldWriteIsNotServed) {
  for (const int seals : {0, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE,
                          F_SEAL_GROW | F_SEAL_FUTURE_WRITE}) {
    const TestArena open(ArenaHeaderFor(kArenaBytes, kIncarnation), seals);
    ServerOptions options = WithArena();
    options.arena_fd = open.fd.get();
    EXPECT_EQ(Start(options).code(), StatusCode::kInvalidArgument) << seals;
  }
  ServerOptions options = WithArena();
  options.arena_bytes = kArenaBytes + 4096;
  EXPECT_EQ(Start(options).code(), StatusCode::kInvalidArgument);
}

TEST_F(UnixLinkTest, AnArenaThatDoesNotFitIsNotBelieved) {
  const HelloReply node{.incarnation = kIncarnation, .arena_bytes = kArenaBytes};
  const auto map = [&](const base::ArenaHeader& header, int seals = TestArena::kAllSeals,
                       uint64_t file_bytes = 0) {
    const TestArena arena(header, seals, file_bytes);
    return MapArena(arena.fd.get(), node).status();
  };
  const base::ArenaHeader good = ArenaHeaderFor(kArenaBytes, kIncarnation);
  EXPECT_EQ(map(good), absl::OkStatus());
  base::ArenaHeader bad = good;
  bad.magic = 1;
  EXPECT_EQ(map(bad).code(), StatusCode::kFailedPrecondition);
  bad = good;
  bad.version = base::kArenaVersion + 1;
  EXPECT_EQ(map(bad).code(), StatusCode::kFailedPrecondition);
  bad = good;
  bad.incarnation = kIncarnation + 1;
  EXPECT_THAT(std::string(map(bad).message()), HasSubstr("incarnation"));
  bad = good;
  bad.num_handles = 0xffffffff;
  EXPECT_EQ(map(bad).code(), StatusCode::kFailedPrecondition);
  bad = good;
  bad.table_offset = ~uint64_t{0} - 4;
  EXPECT_EQ(map(bad).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(map(good, TestArena::kAllSeals, kArenaBytes / 2).code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(map(good, F_SEAL_GROW | F_SEAL_FUTURE_WRITE).code(), StatusCode::kFailedPrecondition)
      << "it could shrink under us";
  EXPECT_EQ(MapArena(-1, node).status().code(), StatusCode::kFailedPrecondition);
}

// ---- Buffers

TEST_F(UnixLinkTest, BuffersAreUsedAgain) {
  ASSERT_EQ(Start(), absl::OkStatus());
  auto link = Connect();
  auto buffer = *link->Allocate(1'000'000);
  EXPECT_EQ(buffer->bytes().size(), 1'000'000);
  const std::byte* first = buffer->bytes().data();
  buffer.reset();
  buffer = *link->Allocate(990'000);
  EXPECT_EQ(buffer->bytes().data(), first) << "of the same class";
  EXPECT_EQ(buffer->bytes().size(), 990'000);
  auto other = *link->Allocate(1'000'000);
  EXPECT_NE(other->bytes().data(), first);
}

TEST_F(UnixLinkTest, SizeClassesWasteLittle) {
  for (const uint64_t bytes :
       std::initializer_list<uint64_t>{1ull, 65'536ull, 65'537ull, 81'920ull, 81'921ull,
                                       1'000'000ull, 1ull << 30, kMaxBufferBytes}) {
    const uint64_t size = BufferPool::ClassBytes(bytes);
    EXPECT_GE(size, bytes);
    EXPECT_LE(size, std::max<uint64_t>(65'536, bytes + bytes / 4)) << bytes;
    EXPECT_EQ(size % 4096, 0) << bytes;
    EXPECT_EQ(BufferPool::ClassBytes(size), size) << bytes;
  }
}

TEST_F(UnixLinkTest, SizesOutOfBounds) {
  ASSERT_EQ(Start(), absl::OkStatus());
  auto link = Connect();
  EXPECT_EQ(link->Allocate(0).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(link->Allocate(kMaxBufferBytes + 1).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(UnixLinkTest, PayloadsMustLieInBuffers) {
  ASSERT_EQ(Start(), absl::OkStatus());
  auto link = Connect();
  auto buffer = *link->Allocate(65'536);
  std::vector<std::byte> foreign(100);
  EXPECT_EQ(CallAndWait(*link, WriteRequest{}, {.send = {Slice(foreign)}}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CallAndWait(*link, ReadRequest{}, {.receive = {MutableSlice(foreign)}}).status().code(),
            StatusCode::kInvalidArgument);
  const Slice beyond(buffer->bytes().data() + 65'000, 1000);
  EXPECT_EQ(CallAndWait(*link, WriteRequest{}, {.send = {beyond}}).status().code(),
            StatusCode::kInvalidArgument);
  const std::vector<Slice> many(kMaxSlices + 1, Slice(buffer->bytes().first(1)));
  EXPECT_EQ(CallAndWait(*link, WriteRequest{}, {.send = many}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(Echo(*link, "fine").ok());
  EXPECT_EQ(server_->stats().bad_messages, 0);
}

TEST_F(UnixLinkTest, MoreBuffersThanTheNodeMaps) {
  ASSERT_EQ(Start(), absl::OkStatus());
  auto link = Connect();
  std::vector<std::unique_ptr<Buffer>> buffers;
  for (uint32_t i = 0; i < kMaxBuffers; ++i) buffers.push_back(*link->Allocate(1));
  EXPECT_EQ(link->Allocate(1).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(link->Allocate(1'000'000).status().code(), StatusCode::kResourceExhausted);
  buffers.pop_back();
  buffers.push_back(*link->Allocate(1'000'000));  // in the place of an idle one of another class
  EXPECT_TRUE(Echo(*link, "fine").ok());
}

TEST_F(UnixLinkTest, BuffersMayOutliveTheLink) {
  ASSERT_EQ(Start(), absl::OkStatus());
  auto link = Connect();
  auto buffer = *link->Allocate(100);
  link.reset();
  memset(buffer->bytes().data(), 1, 100);
}

TEST_F(UnixLinkTest, ADeadLinkAllocatesNothing) {
  ASSERT_EQ(Start(), absl::OkStatus());
  auto link = Connect();
  service_.Hold();
  Results results;
  link->Call(AdminRequest{}, {}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(1));
  server_.reset();
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_EQ(link->Allocate(100).status().code(), StatusCode::kUnavailable);
}

// ---- Nodes that go wrong

// Plays a node by hand, in a thread of its own.
class BadNode {
 public:
  BadNode(const std::string& path, std::function<void(RawPeer&)> script)
      : bound_(std::move(BindUnix(path)).value()), thread_([this, script = std::move(script)] {
          fcntl(bound_.socket.get(), F_SETFL, 0);
          RawPeer peer(UniqueFd(accept4(bound_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC)));
          script(peer);
        }) {}
  ~BadNode() { thread_.join(); }

 private:
  BoundSocket bound_;
  std::thread thread_;
};

TEST_F(UnixLinkTest, ANodeOfAnotherVersion) {
  BadNode node(path_.path(), [](RawPeer& peer) { peer.AnswerHello({.version = 99}); });
  const auto link = transport::Connect(absl::StrCat("unix:", path_.path()), {});
  EXPECT_EQ(link.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(link.status().message()), HasSubstr("99"));
}

TEST_F(UnixLinkTest, ANodeThatForgetsItsArena) {
  BadNode node(path_.path(), [](RawPeer& peer) { peer.AnswerHello({.arena_bytes = 4096}); });
  EXPECT_EQ(transport::Connect(absl::StrCat("unix:", path_.path()), {}).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(UnixLinkTest, ANodeThatTalksNonsense) {
  const std::string nonsense[] = {
      "nonsense, not even a frame's header",
      RawBytes(FrameHeader{.length = 8}) + "nonsense",
      RawBytes(FrameHeader{.kind = FrameKind::kBuffer, .length = 16}) + std::string(16, '\0'),
      RawBytes(FrameHeader{.length = static_cast<uint32_t>(kMaxFrameBytes) + 1}),
      RawBytes(FrameHeader{.flags = kHasFd, .length = 8}) + "12345678",
  };
  for (const std::string& bytes : nonsense) {
    SocketPath path;
    BadNode node(path.path(), [&](RawPeer& peer) {
      peer.AnswerHello({});
      FrameHeader header;
      std::string body;
      UniqueFd fd;
      ASSERT_TRUE(peer.ReceiveFrame(&header, &body, &fd));
      peer.SendBytes(bytes);
      EXPECT_TRUE(peer.WaitForEnd());
    });
    auto link = transport::Connect(absl::StrCat("unix:", path.path()), {});
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_EQ(Echo(**link, "x").status().code(), StatusCode::kUnavailable);
    EXPECT_FALSE((*link)->alive());
    EXPECT_EQ(Echo(**link, "x").status().code(), StatusCode::kUnavailable);
  }
}

TEST_F(UnixLinkTest, AnswersToNobodyAreIgnored) {
  BadNode node(path_.path(), [](RawPeer& peer) {
    peer.AnswerHello({});
    FrameHeader header;
    std::string body;
    UniqueFd fd;
    ASSERT_TRUE(peer.ReceiveFrame(&header, &body, &fd));
    peer.SendReply(99, AdminReply{"who?"});
    peer.SendReply(2, AdminReply{"first"});
    peer.SendReply(2, AdminReply{"second"});
    EXPECT_TRUE(peer.WaitForEnd());
  });
  auto link = Connect();
  EXPECT_EQ(*Echo(*link, "x"), "first");
  EXPECT_TRUE(link->alive());
}

TEST_F(UnixLinkTest, AReplyOfAnotherKindIsInternal) {
  BadNode node(path_.path(), [](RawPeer& peer) {
    peer.AnswerHello({});
    FrameHeader header;
    std::string body;
    UniqueFd fd;
    ASSERT_TRUE(peer.ReceiveFrame(&header, &body, &fd));
    peer.SendReply(2, WriteReply());
    EXPECT_TRUE(peer.WaitForEnd());
  });
  auto link = Connect();
  EXPECT_EQ(Echo(*link, "x").status().code(), StatusCode::kInternal);
}

// Reads a call with a payload up to where a node would claim its ticket.
void ClaimNextTicket(RawPeer& peer) {
  FrameHeader header;
  std::string body;
  UniqueFd fd, tickets;
  while (true) {
    ASSERT_TRUE(peer.ReceiveFrame(&header, &body, &fd));
    if (header.kind == FrameKind::kTickets) tickets = std::move(fd);
    if (header.kind == FrameKind::kMessage) break;
  }
  PayloadTable table;
  memcpy(&table, body.data(), sizeof(table));
  auto memory =
      *Mapping::Map(tickets.get(), 1024 * sizeof(TicketLine), Mapping::Access::kReadWrite);
  ASSERT_TRUE(MoveTicket(*memory, {table.ticket, table.ticket_word}, kTicketClaimed));
}

TEST_F(UnixLinkTest, ANodeThatHangsWhileItWritesIsGivenUp) {
  BadNode node(path_.path(), [](RawPeer& peer) {
    peer.AnswerHello({});
    ClaimNextTicket(peer);
    EXPECT_TRUE(peer.WaitForEnd());
  });
  auto link = Connect();
  auto buffer = *link->Allocate(100);
  const absl::Time begin = absl::Now();
  const auto reply = CallAndWait(
      *link, ReadRequest{}, {.deadline = absl::Milliseconds(20), .receive = {buffer->bytes()}});
  EXPECT_EQ(reply.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - begin, absl::Seconds(1)) << "the grace of a node that is writing";
  EXPECT_EQ(Echo(*link, "x").status().code(), StatusCode::kUnavailable);
}

TEST_F(UnixLinkTest, ANodeThatIsWritingAtTheDeadlineMayFinish) {
  std::promise<void> deadline_passed;
  BadNode node(path_.path(), [late = deadline_passed.get_future().share()](RawPeer& peer) {
    peer.AnswerHello({});
    ClaimNextTicket(peer);
    late.wait();
    peer.SendReply(2, ReadReply{100, 0}, 100);
    EXPECT_TRUE(peer.WaitForEnd());
  });
  auto link = Connect();
  auto buffer = *link->Allocate(100);
  Results slow, quick;
  link->Call(ReadRequest{}, {.deadline = absl::Milliseconds(20), .receive = {buffer->bytes()}},
             slow.Next());
  link->Call(AdminRequest{}, {.deadline = absl::Milliseconds(40)}, quick.Next());
  // Its deadline is the later one, so the other's has passed when it completes.
  ASSERT_TRUE(quick.WaitForAll());
  EXPECT_EQ(quick.at(0).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(slow.completed(), 0);
  deadline_passed.set_value();
  ASSERT_TRUE(slow.WaitForAll());
  EXPECT_TRUE(slow.at(0).ok()) << slow.at(0).status();
  EXPECT_TRUE(link->alive());
}

// The node has read it all: the buffer may be used again, so there is no grace to wait for.
TEST_F(UnixLinkTest, AWriteThatIsNotAnsweredEndsByItsDeadline) {
  BadNode node(path_.path(), [](RawPeer& peer) {
    peer.AnswerHello({});
    ClaimNextTicket(peer);
    EXPECT_TRUE(peer.WaitForEnd());
  });
  auto link = Connect();
  auto buffer = *link->Allocate(100);
  const absl::Time begin = absl::Now();
  const auto reply = CallAndWait(*link, WriteRequest{},
                                 {.deadline = absl::Milliseconds(20), .send = {buffer->bytes()}});
  EXPECT_EQ(reply.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - begin, ClientCore::kOverdueGrace);
  EXPECT_TRUE(link->alive());
}

}  // namespace
}  // namespace cistern::transport
