// Calls that go ahead of their payload: a node that copies what comes, writers that are slow,
// silent, gone or liars.
#include "transport/shm/payload_follower.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/unit/transport/raw_peer.h"
#include "tests/unit/transport/test_service.h"
#include "tests/unit/transport/test_socket.h"
#include "transport/link.h"
#include "transport/local/in_process.h"
#include "transport/shm/memfd.h"
#include "transport/shm/tickets.h"
#include "transport/shm/unix_session.h"

namespace cistern::transport {
namespace {

using absl::StatusCode;

constexpr uint64_t kSeed = 7;
constexpr size_t kBytes = 1'000'000;

class PayloadFollowerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = StartServer({.unix_path = path_.path(), .lanes = 1}, &service_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::unique_ptr<Link> Connect() {
    auto link = transport::Connect(absl::StrCat("unix:", path_.path()), {});
    EXPECT_TRUE(link.ok()) << link.status();
    return link.ok() ? *std::move(link) : nullptr;
  }
  // The call, and nothing of its payload, which is to lie in `buffer`.
  static std::unique_ptr<PayloadFill> WriteAhead(Link& link, Buffer& buffer, Results& results,
                                                 absl::Duration deadline = absl::Seconds(20)) {
    EXPECT_TRUE(link.follows());
    const MutableSlice all = buffer.bytes();
    return link.CallAhead(WriteRequest{.checksum = kSeed},
                          {.deadline = deadline, .send = {all.first(100), all.subspan(100)}},
                          results.Next());
  }
  static StatusCode CodeOf(Results& results) {
    EXPECT_TRUE(results.WaitForAll());
    return results.at(0).status().code();
  }

  SocketPath path_;
  TestService service_;
  std::unique_ptr<Server> server_;
};

// In steps of many sizes; between some of them the node has long stopped looking.
TEST_F(PayloadFollowerTest, APayloadIsTakenAsItComes) {
  auto link = Connect();
  auto buffer = *link->Allocate(kBytes);
  const std::vector<std::byte> payload = Payload(kSeed, kBytes);
  for (const size_t step : {size_t{1} << 14, size_t{100'001}, kBytes}) {
    std::memset(buffer->bytes().data(), 0, kBytes);
    Results results;
    auto fill = WriteAhead(*link, *buffer, results);
    ASSERT_NE(fill, nullptr);
    for (size_t at = 0, count = 0; at < kBytes; ++count) {
      const size_t some = std::min(step, kBytes - at);
      std::memcpy(buffer->bytes().data() + at, payload.data() + at, some);
      at += some;
      if (count % 10 == 1) absl::SleepFor(2 * PayloadFollower::kPause);
      fill->Filled(at);
    }
    EXPECT_EQ(CodeOf(results), StatusCode::kOk) << step;
  }
  EXPECT_EQ(server_->stats().payload_bytes_in, 3 * kBytes);
}

// Slices that name one piece of memory, written to again as it is taken.
TEST_F(PayloadFollowerTest, APayloadGoesThroughLessMemory) {
  constexpr size_t kMemory = 40'000;
  auto link = Connect();
  auto buffer = *link->Allocate(kMemory);
  const std::vector<std::byte> payload = Payload(kSeed, kBytes);
  const std::vector<Slice> slices(kBytes / kMemory, buffer->bytes());
  Results results;
  auto fill = link->CallAhead(WriteRequest{.checksum = kSeed},
                              {.deadline = absl::Seconds(20), .send = slices}, results.Next());
  ASSERT_NE(fill, nullptr);
  for (size_t at = 0; at < kBytes;) {
    ASSERT_LE(fill->Taken(), at);
    const size_t room = kMemory - (at - fill->Taken());
    const size_t some = std::min({room, kMemory - at % kMemory, size_t{7000}});
    std::memcpy(buffer->bytes().data() + at % kMemory, payload.data() + at, some);
    at += some;
    fill->Filled(at);
  }
  EXPECT_EQ(CodeOf(results), StatusCode::kOk);
}

// More calls than there are tickets, one after the other: lines are used again.
TEST_F(PayloadFollowerTest, ManyCallsInARow) {
  auto link = Connect();
  auto buffer = *link->Allocate(500);
  const std::vector<std::byte> payload = Payload(kSeed, 500);
  std::memcpy(buffer->bytes().data(), payload.data(), payload.size());
  for (int i = 0; i < 2000; ++i) {
    Results results;
    WriteAhead(*link, *buffer, results)->Filled(500);
    ASSERT_EQ(CodeOf(results), StatusCode::kOk) << i;
  }
}

TEST_F(PayloadFollowerTest, WhoGivesUpIsToldSoAtOnce) {
  auto link = Connect();
  auto buffer = *link->Allocate(kBytes);
  Results results;
  auto fill = WriteAhead(*link, *buffer, results);
  fill->Filled(kBytes / 2);
  fill.reset();
  EXPECT_EQ(CodeOf(results), StatusCode::kUnavailable);
  EXPECT_EQ(*Echo(*link, "next"), "next");
}

// The lane has one thread: it serves others while one writer is silent, for as long as that may be.
TEST_F(PayloadFollowerTest, ASilentWriterHoldsNobodyUp) {
  auto silent = Connect(), other = Connect();
  auto buffer = *silent->Allocate(kBytes);
  Results results;
  auto fill = WriteAhead(*silent, *buffer, results, absl::Milliseconds(300));
  fill->Filled(1000);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(*Echo(*other, "x"), "x");
  EXPECT_EQ(WritePayload(*other, {Payload(3, 100'000)}, 3), absl::OkStatus());
  EXPECT_EQ(*Echo(*silent, "its other calls, too"), "its other calls, too");
  EXPECT_EQ(results.completed(), 0);
  EXPECT_EQ(CodeOf(results), StatusCode::kDeadlineExceeded);
  fill->Filled(kBytes);  // too late, and no harm
  fill.reset();
  EXPECT_EQ(*Echo(*silent, "next"), "next");
}

TEST_F(PayloadFollowerTest, AWriterThatIsGoneEndsItsCall) {
  auto link = Connect(), other = Connect();
  auto buffer = *link->Allocate(kBytes);
  Results results;
  auto fill = WriteAhead(*link, *buffer, results);
  EXPECT_EQ(*Echo(*other, "x"), "x");  // by now the node follows
  link.reset();
  EXPECT_EQ(CodeOf(results), StatusCode::kCancelled);
  ASSERT_TRUE(service_.WaitForClosed(1));
  fill->Filled(kBytes);  // into memory that nobody reads
}

TEST_F(PayloadFollowerTest, ANodeThatStopsDoesNotWait) {
  auto link = Connect();
  auto buffer = *link->Allocate(kBytes);
  Results results;
  auto fill = WriteAhead(*link, *buffer, results);
  EXPECT_EQ(*Echo(*link, "x"), "x");
  server_.reset();
  EXPECT_EQ(CodeOf(results), StatusCode::kUnavailable);
}

TEST_F(PayloadFollowerTest, ACallThatIsReceivedElsewhereIsFollowedOnItsLane) {
  auto link = Connect();
  auto buffer = *link->Allocate(kBytes);
  const std::vector<std::byte> payload = Payload(kSeed, kBytes);
  std::memcpy(buffer->bytes().data(), payload.data(), kBytes);
  Results results;
  service_.Hold();
  auto fill = WriteAhead(*link, *buffer, results);
  ASSERT_TRUE(service_.WaitForHeld(1));
  service_.Release();  // on this thread
  fill->Filled(kBytes);
  EXPECT_EQ(CodeOf(results), StatusCode::kOk);
}

TEST_F(PayloadFollowerTest, ThereMustBeAPayload) {
  auto link = Connect();
  Results results;
  EXPECT_EQ(link->CallAhead(WriteRequest{}, {}, results.Next()), nullptr);
  EXPECT_EQ(CodeOf(results), StatusCode::kInvalidArgument);
}

TEST_F(PayloadFollowerTest, OnALinkThatIsDeadNothingIsFollowed) {
  auto link = Connect();
  auto buffer = *link->Allocate(100);
  server_.reset();
  EXPECT_EQ(Echo(*link, "x").status().code(), StatusCode::kUnavailable);
  Results results;
  auto fill = WriteAhead(*link, *buffer, results);
  if (fill != nullptr) fill->Filled(100);
  EXPECT_EQ(CodeOf(results), StatusCode::kUnavailable);
}

TEST(InProcessFollowTest, ALinkThatDoesNotFollowSaysSo) {
  TestService service;
  auto local = StartInProcess({}, &service);
  ASSERT_TRUE(local.ok()) << local.status();
  auto link = (*local)->Connect({});
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_FALSE((*link)->follows());
  Results results;
  EXPECT_EQ((*link)->CallAhead(WriteRequest{}, {}, results.Next()), nullptr);
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_EQ(results.at(0).status().code(), StatusCode::kUnimplemented);
}

// ---- By hand: what a worker of ours would never say.

class FollowedPeer {
 public:
  static constexpr uint64_t kPayload = 8192;

  explicit FollowedPeer(const std::string& path) : peer_(path) {
    const UniqueFd buffer = std::move(CreateMemfd("buffer", kPayload)).value();
    const UniqueFd tickets = std::move(CreateMemfd("tickets", 512)).value();
    buffer_ = *Mapping::Map(buffer.get(), kPayload, Mapping::Access::kReadWrite);
    lines_ = *Mapping::Map(tickets.get(), 512, Mapping::Access::kReadWrite);
    const std::vector<std::byte> payload = Payload(kSeed, kPayload);
    std::memcpy(buffer_->data(), payload.data(), kPayload);
    peer_.Hello();
    peer_.SendNotice(FrameKind::kBuffer, {1, 0, kPayload}, {buffer.get()});
    peer_.SendNotice(FrameKind::kTickets, {0, 0, 512}, {tickets.get()});
  }

  void Say(uint64_t filled) {
    TicketLine* line = LineOf(*lines_, kLine);
    __atomic_store_n(&line->filled, CountOf(kWord, filled), __ATOMIC_RELEASE);
  }
  // A call ahead of its payload, of which `filled` bytes are said to be there.
  void Call(uint64_t filled, uint32_t flags = kFollow, uint64_t word = kWord) {
    Say(filled);
    LineOf(*lines_, kLine)->taken = CountOf(kWord, 0);
    LineOf(*lines_, kLine)->word = kWord;
    peer_.SendWithPayload({.call_id = 2, .deadline = absl::Seconds(20), .send_bytes = kPayload},
                          WriteRequest{.checksum = kSeed},
                          {.send_slices = 1, .ticket = kLine, .flags = flags, .ticket_word = word},
                          {{.buffer = 1, .offset = 0, .bytes = kPayload}});
  }
  StatusCode Answer() {
    const auto reply = peer_.Receive();
    EXPECT_TRUE(reply.has_value());
    if (!reply.has_value()) return StatusCode::kUnknown;
    const auto* error = std::get_if<ErrorReply>(&reply->reply);
    return error == nullptr ? StatusCode::kOk : error->ToStatus().code();
  }
  RawPeer& peer() { return peer_; }

 private:
  static constexpr uint32_t kLine = 3;
  static constexpr uint64_t kWord = 5 << 2 | kTicketArmed;

  RawPeer peer_;
  std::shared_ptr<Mapping> buffer_, lines_;
};

TEST_F(PayloadFollowerTest, APeerThatKeepsToItIsServed) {
  FollowedPeer peer(path_.path());
  peer.Call(100);
  peer.Say(8000);
  peer.Say(FollowedPeer::kPayload);
  EXPECT_EQ(peer.Answer(), StatusCode::kOk);
  EXPECT_EQ(server_->stats().bad_messages, 0);
}

TEST_F(PayloadFollowerTest, MoreThanThereIsIsRefused) {
  for (const uint64_t filled : {FollowedPeer::kPayload + 1, kMaxFillCount}) {
    FollowedPeer peer(path_.path());
    peer.Call(filled);
    EXPECT_EQ(peer.Answer(), StatusCode::kInvalidArgument) << filled;
  }
  EXPECT_EQ(server_->stats().bad_messages, 2);
}

TEST_F(PayloadFollowerTest, FewerThanBeforeIsRefused) {
  FollowedPeer peer(path_.path());
  peer.Call(100);
  auto other = Connect();
  // The lane has followed so far when it answers this.
  EXPECT_EQ(*Echo(*other, "x"), "x");
  peer.Say(99);
  EXPECT_EQ(peer.Answer(), StatusCode::kInvalidArgument);
  EXPECT_EQ(server_->stats().bad_messages, 1);
}

TEST_F(PayloadFollowerTest, ManySilentPayloadsOfOneWorkerAreRefused) {
  auto link = Connect();
  auto buffer = *link->Allocate(kBytes);
  Results results;
  std::vector<std::unique_ptr<PayloadFill>> fills;
  for (size_t i = 0; i <= UnixSession::kMaxFollowers; ++i)
    fills.push_back(WriteAhead(*link, *buffer, results));
  const absl::Time until = absl::Now() + absl::Seconds(10);
  while (results.completed() == 0 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(results.completed(), 1u);
  EXPECT_EQ(*Echo(*link, "others go on"), "others go on");
  fills.clear();
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_EQ(results.at(0).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(results.at(UnixSession::kMaxFollowers).status().code(), StatusCode::kResourceExhausted);
}

// A worker may say so at any time, but nothing besides.
TEST_F(PayloadFollowerTest, ToSayThatThereIsMoreIsHarmless) {
  FollowedPeer peer(path_.path());
  peer.peer().SendFrame({.kind = FrameKind::kFilled}, "");
  peer.Call(100);
  for (int i = 0; i < 100; ++i) peer.peer().SendFrame({.kind = FrameKind::kFilled}, "");
  peer.Say(FollowedPeer::kPayload);
  peer.peer().SendFrame({.kind = FrameKind::kFilled}, "");
  EXPECT_EQ(peer.Answer(), StatusCode::kOk);
  EXPECT_EQ(server_->stats().bad_messages, 0);
  peer.peer().SendFrame({.kind = FrameKind::kFilled}, "12345678");
  EXPECT_TRUE(peer.peer().WaitForEnd());
  EXPECT_EQ(server_->stats().bad_messages, 1);
}

TEST_F(PayloadFollowerTest, FlagsThatAreWrong) {
  for (const uint32_t flags : {2u, 3u, 0x80000001u}) {
    FollowedPeer peer(path_.path());
    peer.Call(0, flags);
    EXPECT_TRUE(peer.peer().WaitForEnd()) << flags;
  }
  FollowedPeer peer(path_.path());
  peer.Call(0, kFollow, /*word=*/0);
  EXPECT_TRUE(peer.peer().WaitForEnd()) << "no ticket";
  EXPECT_EQ(server_->stats().bad_messages, 4);
}

// The other worker's memory stays mapped, and counted, as long as its payload is followed.
TEST_F(PayloadFollowerTest, ABufferThatIsDroppedIsFollowedToTheEnd) {
  FollowedPeer peer(path_.path());
  peer.Call(100);
  peer.peer().SendNotice(FrameKind::kDropBuffer, {1, 0, FollowedPeer::kPayload}, {});
  auto other = Connect();
  EXPECT_EQ(*Echo(*other, "x"), "x");
  peer.Say(FollowedPeer::kPayload);
  EXPECT_EQ(peer.Answer(), StatusCode::kOk);
}

// The node was stopped, say: it comes to a call whose worker has given up, and whose line and
// memory are another call's by now. It must not take that one's bytes for its own, nor say that
// they are taken: they would be written over.
TEST_F(PayloadFollowerTest, ALateNodeDoesNotSpeakForTheNextCall) {
  auto link = Connect();
  auto buffer = *link->Allocate(kBytes);
  service_.Hold();
  Results late, next;
  auto given_up = WriteAhead(*link, *buffer, late, absl::Milliseconds(50));
  ASSERT_TRUE(service_.WaitForHeld(1));
  EXPECT_EQ(CodeOf(late), StatusCode::kDeadlineExceeded);
  given_up.reset();  // the line is free
  auto fill = WriteAhead(*link, *buffer, next);
  ASSERT_TRUE(service_.WaitForHeld(2));
  auto held = service_.TakeHeld();
  service_.Release();
  const std::vector<std::byte> payload = Payload(kSeed, kBytes);
  std::memcpy(buffer->bytes().data(), payload.data(), kBytes);
  fill->Filled(kBytes / 2);
  TestService::Answer(std::move(held[0]));  // nobody waits for it
  EXPECT_EQ(*Echo(*link, "x"), "x");
  EXPECT_EQ(fill->Taken(), 0u);
  TestService::Answer(std::move(held[1]));
  fill->Filled(kBytes);
  EXPECT_EQ(CodeOf(next), StatusCode::kOk);
  EXPECT_EQ(server_->stats().bad_messages, 0);
}

// ---- Tickets

TEST(TicketFillTest, CountsAreOfOneCallAlone) {
  auto fd = CreateMemfd("tickets", 128);
  ASSERT_TRUE(fd.ok()) << fd.status();
  auto memory = *Mapping::Map(fd->get(), 128, Mapping::Access::kReadWrite);
  TicketBook book(memory, 1);
  const Ticket first = *book.Arm(/*fills=*/true);
  book.Filled(first, 1000);
  EXPECT_TRUE(SetTaken(*memory, first, 0, 500));
  EXPECT_EQ(book.Taken(first), 500u);
  EXPECT_FALSE(SetTaken(*memory, first, 0, 600)) << "it has said 500";
  book.Return(first.index);
  book.EndFill(first.index, /*complete=*/false);
  const Ticket second = *book.Arm(/*fills=*/true);
  ASSERT_EQ(second.index, first.index);
  book.Filled(second, 800);
  EXPECT_EQ(FilledOf(*memory, first), std::nullopt);
  EXPECT_FALSE(SetTaken(*memory, first, 500, 600));
  EXPECT_EQ(book.Taken(second), 0u);
  EXPECT_EQ(FilledOf(*memory, second), 800u);
  EXPECT_TRUE(book.Withdraw(second.index));
  EXPECT_TRUE(book.Withdraw(second.index)) << "it was";
}

TEST(TicketFillTest, ALineIsNotArmedAgainBeforeItsWriterHasLetGo) {
  auto fd = CreateMemfd("tickets", 128);
  ASSERT_TRUE(fd.ok()) << fd.status();
  auto memory = *Mapping::Map(fd->get(), 128, Mapping::Access::kReadWrite);
  TicketBook book(memory, 1);
  for (const bool call_first : {true, false}) {
    const auto ticket = book.Arm(/*fills=*/true);
    ASSERT_TRUE(ticket.has_value());
    EXPECT_EQ(FilledOf(*memory, *ticket), 0u);
    book.Filled(*ticket, 10);
    EXPECT_EQ(FilledOf(*memory, *ticket), 10u);
    call_first ? book.Return(ticket->index) : book.EndFill(ticket->index, /*complete=*/true);
    EXPECT_FALSE(book.Arm().has_value());
    EXPECT_EQ(IsArmed(*memory, *ticket), !call_first);
    EXPECT_FALSE(FallAsleep(*memory, *ticket, 9)) << "there is more";
    EXPECT_FALSE(book.MustWake(ticket->index));
    EXPECT_TRUE(FallAsleep(*memory, *ticket, 10));
    EXPECT_TRUE(book.MustWake(ticket->index));
    EXPECT_FALSE(book.MustWake(ticket->index)) << "once";
    call_first ? book.EndFill(ticket->index, /*complete=*/true) : book.Return(ticket->index);
  }
  const auto given_up = book.Arm(/*fills=*/true);
  ASSERT_TRUE(given_up.has_value());
  book.EndFill(given_up->index, /*complete=*/false);
  EXPECT_FALSE(MoveTicket(*memory, *given_up, kTicketClaimed));
}

}  // namespace
}  // namespace cistern::transport
