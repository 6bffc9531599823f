#include "tests/unit/transport/link_contract.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"

#include "tests/unit/transport/sample_messages.h"

namespace cistern::transport {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

AdminRequest EchoRequest(std::string text) { return {.model_name = std::move(text)}; }

TEST_P(LinkContract, ACallIsAnswered) {
  Start({.node_name = "the node", .incarnation = 77});
  auto link = Connect({.client_name = "worker\n7"});
  EXPECT_EQ(*Echo(*link, "hello"), "hello");
  EXPECT_EQ(link->node().node_name, "the node");
  EXPECT_EQ(link->node().incarnation, 77);
  EXPECT_EQ(link->node().version, kProtocolVersion);
  EXPECT_TRUE(link->alive());
  EXPECT_EQ(service_.last_info().client_name, "worker?7") << "fit for a log";
  EXPECT_FALSE(service_.last_info().peer.empty());
}

TEST_P(LinkContract, LargeMessagesGoBothWays) {
  Start();
  auto link = Connect();
  for (const size_t bytes : {100'000, 1'000'000, 8'000'000}) {
    const std::string text(bytes, 'x');
    const auto echoed = Echo(*link, text);
    ASSERT_TRUE(echoed.ok()) << echoed.status();
    EXPECT_TRUE(*echoed == text);
  }
  FindRequest find;
  find.items.resize(kMaxItems);
  const auto found = CallFor<FindReply>(*link, find);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->results.size(), kMaxItems);
}

TEST_P(LinkContract, PayloadsGoBothWays) {
  Start();
  auto link = Connect();
  for (const uint32_t bytes : {1u, 7u, 4096u, 4097u, 100'000u, 3u << 20}) {
    for (const uint32_t pieces : {1u, 2u, 5u}) {
      const auto read = ReadPayload(*link, bytes + pieces, bytes, pieces);
      ASSERT_TRUE(read.ok()) << bytes << " in " << pieces << ": " << read.status();
      EXPECT_TRUE(*read == Payload(bytes + pieces, bytes)) << bytes << " in " << pieces;
    }
    const std::vector<std::byte> all = Payload(bytes, bytes);
    const size_t cut = bytes / 3;
    EXPECT_EQ(WritePayload(*link, {all}, bytes), absl::OkStatus());
    EXPECT_EQ(
        WritePayload(*link, {{all.begin(), all.begin() + cut}, {}, {all.begin() + cut, all.end()}},
                     bytes),
        absl::OkStatus());
  }
  const ServerStats stats = node_->server().stats();
  EXPECT_EQ(stats.payload_bytes_in, 2 * (1 + 7 + 4096 + 4097 + 100'000 + (3 << 20)));
  EXPECT_EQ(stats.payload_bytes_out, 3 * (1 + 7 + 4096 + 4097 + 100'000 + (3 << 20)));
}

TEST_P(LinkContract, AnEmptyPayloadIsNone) {
  Start();
  auto link = Connect();
  EXPECT_EQ(ReadPayload(*link, 1, 0)->size(), 0);
  EXPECT_EQ(WritePayload(*link, {{}}, 1), absl::OkStatus());
}

TEST_P(LinkContract, ManyCallsInFlightFromManyThreads) {
  Start();
  auto link = Connect();
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Results results;
      for (int i = 0; i < 200; ++i)
        link->Call(EchoRequest(absl::StrCat(t, "-", i)), {}, results.Next());
      ASSERT_TRUE(results.WaitForAll());
      for (int i = 0; i < 200; ++i) {
        const auto& reply = results.at(i);
        if (reply.ok() && std::get<AdminReply>(*reply).json == absl::StrCat(t, "-", i)) ++right;
      }
      EXPECT_EQ(results.completed_twice(), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 800);
  EXPECT_EQ(node_->server().stats().calls, 800);
}

TEST_P(LinkContract, ManyPayloadsInFlight) {
  Start();
  auto link = Connect();
  constexpr uint32_t kBytes = 50'000;
  constexpr int kCalls = 64;
  auto buffer = *link->Allocate(kBytes * kCalls);
  Results results;
  for (int i = 0; i < kCalls; ++i) {
    link->Call(ReadRequest{.layer_begin = static_cast<uint32_t>(i), .layer_end = kBytes},
               {.receive = {buffer->bytes().subspan(kBytes * i, kBytes)}}, results.Next());
  }
  ASSERT_TRUE(results.WaitForAll());
  for (int i = 0; i < kCalls; ++i) {
    ASSERT_TRUE(results.at(i).ok()) << results.at(i).status();
    const MutableSlice got = buffer->bytes().subspan(kBytes * i, kBytes);
    const std::vector<std::byte> expected = Payload(i, kBytes);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin())) << i;
  }
}

TEST_P(LinkContract, ACompletionMayCallAgain) {
  Start();
  auto link = Connect();
  Results results;
  Completion last = results.Next();
  std::function<void(int)> step = [&](int left) {
    link->Call(EchoRequest("again"), {}, [&, left](absl::StatusOr<Reply> reply) {
      if (left == 0 || !reply.ok()) return last(std::move(reply));
      step(left - 1);
    });
  };
  step(100);
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_TRUE(results.at(0).ok());
  EXPECT_EQ(node_->server().stats().calls, 101);
}

TEST_P(LinkContract, TheNodesErrorIsTheCallsError) {
  Start();
  auto link = Connect();
  const auto reply = CallAndWait(*link, CommitRequest{{1}});
  EXPECT_EQ(reply.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(reply.status().message()), HasSubstr("does not know"));
}

// ---- Deadlines

TEST_P(LinkContract, ADeadlineNeedsNoPeer) {
  Start();
  auto link = Connect();
  service_.Hold();
  const absl::Time begin = absl::Now();
  EXPECT_EQ(Echo(*link, "", absl::Milliseconds(30)).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(30));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  service_.Release();  // nobody waits for this answer
  EXPECT_EQ(*Echo(*link, "and on"), "and on");
}

TEST_P(LinkContract, AShortDeadlineOvertakesALongOne) {
  Start();
  auto link = Connect();
  service_.Hold();
  Results long_ones, short_ones;
  for (int i = 0; i < 10; ++i)
    link->Call(EchoRequest(""), {.deadline = absl::Minutes(5)}, long_ones.Next());
  for (int i = 10; i > 0; --i) {
    link->Call(EchoRequest(""), {.deadline = absl::Milliseconds(2 * i)}, short_ones.Next());
  }
  ASSERT_TRUE(short_ones.WaitForAll());
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(short_ones.at(i).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(long_ones.completed(), 0);
  ASSERT_TRUE(service_.WaitForHeld(20));
  service_.Release();
  ASSERT_TRUE(long_ones.WaitForAll());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(long_ones.at(i).ok());
}

TEST_P(LinkContract, APastDeadlineIsExceeded) {
  Start();
  auto link = Connect();
  service_.Hold();
  EXPECT_EQ(Echo(*link, "", -absl::Seconds(1)).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Echo(*link, "", absl::ZeroDuration()).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_P(LinkContract, TheNodeLearnsTheDeadline) {
  Start();
  auto link = Connect();
  service_.Hold();
  Results results;
  const absl::Time before = absl::Now();
  link->Call(EchoRequest(""), {.deadline = absl::Seconds(100)}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(1));
  auto held = service_.TakeHeld();
  EXPECT_GE(held[0]->deadline(), before + absl::Seconds(99));
  EXPECT_LE(held[0]->deadline(), absl::Now() + absl::Seconds(100));
}

// Once a call has completed its buffer is the caller's: an answer that comes too late must not
// write into it.
TEST_P(LinkContract, ALateAnswerTouchesNothing) {
  Start();
  auto link = Connect();
  service_.Hold();
  auto buffer = *link->Allocate(1 << 20);
  std::fill(buffer->bytes().begin(), buffer->bytes().end(), std::byte{0x5a});
  const auto reply =
      CallAndWait(*link, ReadRequest{.layer_begin = 1, .layer_end = 1 << 20},
                  {.deadline = absl::Milliseconds(20), .receive = {buffer->bytes()}});
  EXPECT_EQ(reply.status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(service_.WaitForHeld(1));
  service_.Release();
  EXPECT_EQ(*Echo(*link, "a round trip later"), "a round trip later");
  EXPECT_TRUE(std::all_of(buffer->bytes().begin(), buffer->bytes().end(),
                          [](std::byte b) { return b == std::byte{0x5a}; }));
}

// What it brings may have to be given back.
TEST_P(LinkContract, ALateAnswerGoesToWhoWantsIt) {
  Start();
  auto link = Connect();
  service_.Hold();
  std::vector<std::string> late;  // written on the link's thread, before the last answer
  const auto keep = [&](const Reply& reply) { late.push_back(std::get<AdminReply>(reply).json); };
  for (const char* text : {"first", "second"}) {
    const auto reply =
        CallAndWait(*link, EchoRequest(text), {.deadline = absl::Milliseconds(10), .late = keep});
    EXPECT_EQ(reply.status().code(), StatusCode::kDeadlineExceeded);
  }
  ASSERT_TRUE(service_.WaitForHeld(2));
  auto held = service_.TakeHeld();
  held[0]->Fail(absl::InternalError("brings nothing"));
  held[0].reset();
  TestService::Answer(std::move(held[1]));
  service_.Release();
  // In time: nothing is late.
  const auto reply = CallAndWait(*link, EchoRequest("third"), {.late = keep});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(late, std::vector<std::string>{"second"});
}

// ---- Bounds

TEST_P(LinkContract, OneCallTooManyOnTheLink) {
  Start();
  auto link = Connect({.max_in_flight = 3});
  service_.Hold();
  Results results;
  for (int i = 0; i < 3; ++i)
    link->Call(EchoRequest("fits"), {.deadline = absl::Minutes(1)}, results.Next());
  EXPECT_EQ(Echo(*link, "too many").status().code(), StatusCode::kResourceExhausted);
  ASSERT_TRUE(service_.WaitForHeld(3));
  service_.Release();
  ASSERT_TRUE(results.WaitForAll());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(results.at(i).ok());
  EXPECT_TRUE(Echo(*link, "room again").ok());
}

TEST_P(LinkContract, OneCallTooManyInTheSession) {
  Start({.max_calls_per_session = 2});
  auto link = Connect();
  auto other = Connect();
  service_.Hold();
  Results results;
  for (int i = 0; i < 2; ++i)
    link->Call(EchoRequest("fits"), {.deadline = absl::Minutes(1)}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(2));
  EXPECT_EQ(Echo(*link, "too many").status().code(), StatusCode::kResourceExhausted);
  Results others;
  other->Call(EchoRequest("other session"), {.deadline = absl::Minutes(1)}, others.Next());
  ASSERT_TRUE(service_.WaitForHeld(3)) << "the bound is each session's own";
  service_.Release();
  ASSERT_TRUE(results.WaitForAll());
  ASSERT_TRUE(others.WaitForAll());
  EXPECT_TRUE(Echo(*link, "room again").ok());
}

TEST_P(LinkContract, OneSessionTooMany) {
  Start({.max_sessions = 2});
  auto first = Connect();
  auto second = Connect();
  const auto third = node_->Connect({});
  EXPECT_EQ(third.status().code(), StatusCode::kResourceExhausted) << third.status();
  first.reset();
  ASSERT_TRUE(service_.WaitForClosed(1));
  EXPECT_TRUE(node_->Connect({}).ok());
}

TEST_P(LinkContract, TooLargeARequestIsRefusedAtOnce) {
  Start();
  auto link = Connect();
  EXPECT_EQ(Echo(*link, std::string(kMaxMessageBytes, 'x')).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Echo(*link, std::string(kMaxMessageBytes + 1, 'x')).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CallAndWait(*link, LeaseRequest{std::vector<ObjectId>(kMaxItems + 1)}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(Echo(*link, "still there").ok());
  EXPECT_EQ(node_->server().stats().bad_messages, 0);
}

TEST_P(LinkContract, TooLargeAReplyIsAnError) {
  Start();
  auto link = Connect();
  service_.Hold();
  Results results;
  for (int i = 0; i < 2; ++i)
    link->Call(EchoRequest(""), {.deadline = absl::Minutes(1)}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(2));
  auto held = service_.TakeHeld();
  held[0]->Reply(AdminReply{std::string(kMaxMessageBytes, 'x')});
  held[1]->Reply(FindReply{.results = std::vector<FindResult>(kMaxItems + 1)});
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_EQ(results.at(0).status().code(), StatusCode::kResourceExhausted)
      << results.at(0).status();
  EXPECT_EQ(results.at(1).status().code(), StatusCode::kInvalidArgument) << results.at(1).status();
}

// ---- A service that does odd things

TEST_P(LinkContract, ADroppedCallIsAnswered) {
  Start();
  auto link = Connect();
  service_.Hold();
  Results results;
  link->Call(EchoRequest(""), {.deadline = absl::Minutes(1)}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(1));
  service_.TakeHeld().clear();
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_EQ(results.at(0).status().code(), StatusCode::kInternal);
}

TEST_P(LinkContract, ASecondReplyGoesNowhere) {
  Start();
  auto link = Connect();
  service_.Hold();
  Results results;
  link->Call(EchoRequest(""), {.deadline = absl::Minutes(1)}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(1));
  auto held = service_.TakeHeld();
  held[0]->Reply(AdminReply{"first"});
  bool sent = false;
  held[0]->Reply(AdminReply{"second"}, {}, [&] { sent = true; });
  EXPECT_TRUE(sent);
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_EQ(std::get<AdminReply>(*results.at(0)).json, "first");
}

TEST_P(LinkContract, PayloadSizesMustAgree) {
  Start();
  auto link = Connect();
  auto buffer = *link->Allocate(1000);
  // The answer has 500 bytes.
  for (const size_t room : {0, 499, 501, 1000}) {
    const auto reply = CallAndWait(*link, ReadRequest{.layer_begin = 1, .layer_end = 500},
                                   {.receive = {buffer->bytes().first(room)}});
    EXPECT_EQ(reply.status().code(), StatusCode::kInvalidArgument)
        << room << ": " << reply.status();
  }
  EXPECT_TRUE(Echo(*link, "still there").ok());
}

TEST_P(LinkContract, APayloadIsReceivedOnceAndWhole) {
  Start();
  auto link = Connect();
  service_.Hold();
  auto buffer = *link->Allocate(100);
  Results results;
  link->Call(WriteRequest{}, {.deadline = absl::Minutes(1), .send = {buffer->bytes()}},
             results.Next());
  ASSERT_TRUE(service_.WaitForHeld(1));
  auto held = service_.TakeHeld();
  EXPECT_EQ(held[0]->payload_bytes(), 100);
  std::vector<std::byte> into(200);
  std::vector<absl::Status> got;
  const auto keep = [&](absl::Status status) { got.push_back(std::move(status)); };
  held[0]->ReceivePayload({MutableSlice(into).first(99)}, keep);
  held[0]->ReceivePayload({MutableSlice(into)}, keep);
  ASSERT_EQ(got.size(), 2);
  EXPECT_EQ(got[0].code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(got[1].code(), StatusCode::kInvalidArgument);
  held[0]->Reply(WriteReply());  // without having taken it
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_TRUE(results.at(0).ok()) << results.at(0).status();
}

TEST_P(LinkContract, AWrongChecksumIsDataLoss) {
  Start();
  auto link = Connect();
  service_.Hold();
  auto buffer = *link->Allocate(64);
  const std::vector<std::byte> payload = Payload(1, 64);
  Results results;
  for (int i = 0; i < 2; ++i) {
    link->Call(ReadRequest{}, {.deadline = absl::Minutes(1), .receive = {buffer->bytes()}},
               results.Next());
    ASSERT_TRUE(service_.WaitForHeld(1));
    auto held = service_.TakeHeld();
    held[0]->Reply(ReadReply{64, i == 0 ? 12345u : 0u}, {Slice(payload)}, nullptr);
    ASSERT_TRUE(results.WaitForAll());
  }
  EXPECT_EQ(results.at(0).status().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(results.at(1).ok()) << "0 = not checked";
}

// ---- Ends

TEST_P(LinkContract, AStoppedServerFailsWhatIsInFlight) {
  Start();
  auto link = Connect();
  service_.Hold();
  Results results;
  for (int i = 0; i < 50; ++i)
    link->Call(EchoRequest(""), {.deadline = absl::Minutes(1)}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(50));
  node_->server().Stop();
  ASSERT_TRUE(results.WaitForAll());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(results.at(i).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(results.completed_twice(), 0);
  EXPECT_FALSE(link->alive());
  EXPECT_EQ(service_.closed(), 1);
  service_.Release();  // into the void
  EXPECT_EQ(Echo(*link, "").status().code(), StatusCode::kUnavailable);
  node_->server().Stop();
  EXPECT_FALSE(node_->Connect({.connect_timeout = absl::Seconds(1)}).ok());
}

TEST_P(LinkContract, AnswersAfterTheServersEndAreHarmless) {
  Start();
  auto link = Connect();
  service_.Hold();
  auto buffer = *link->Allocate(4096);
  Results results;
  link->Call(WriteRequest{}, {.deadline = absl::Minutes(1), .send = {buffer->bytes()}},
             results.Next());
  link->Call(ReadRequest{}, {.deadline = absl::Minutes(1), .receive = {buffer->bytes()}},
             results.Next());
  ASSERT_TRUE(service_.WaitForHeld(2));
  node_.reset();
  ASSERT_TRUE(results.WaitForAll());
  auto held = service_.TakeHeld();
  absl::Status received;
  std::vector<std::byte> bytes(4096);
  held[0]->ReceivePayload({MutableSlice(bytes)},
                          [&](absl::Status status) { received = std::move(status); });
  EXPECT_EQ(received.code(), StatusCode::kUnavailable);
  held[0]->Reply(WriteReply());
  bool sent = false;
  held[1]->Reply(ReadReply{4096, 0}, {Slice(bytes)}, [&] { sent = true; });
  EXPECT_TRUE(sent);
  held.clear();
}

TEST_P(LinkContract, AClosedLinkCancelsWhatIsInFlight) {
  Start();
  auto link = Connect();
  service_.Hold();
  Results results;
  auto buffer = *link->Allocate(100);
  for (int i = 0; i < 50; ++i)
    link->Call(EchoRequest(""), {.deadline = absl::Minutes(1)}, results.Next());
  link->Call(WriteRequest{}, {.deadline = absl::Minutes(1), .send = {buffer->bytes()}},
             results.Next());
  ASSERT_TRUE(service_.WaitForHeld(51));
  link.reset();
  EXPECT_EQ(results.completed(), 51) << "before the destructor returns";
  for (int i = 0; i < 51; ++i) EXPECT_EQ(results.at(i).status().code(), StatusCode::kCancelled);
  ASSERT_TRUE(service_.WaitForClosed(1));
  auto held = service_.TakeHeld();
  bool sent = false;
  held[0]->Reply(AdminReply(), {}, [&] { sent = true; });
  EXPECT_TRUE(sent);
  absl::Status received;
  std::vector<std::byte> bytes(100);
  held[50]->ReceivePayload({MutableSlice(bytes)},
                           [&](absl::Status status) { received = std::move(status); });
  EXPECT_EQ(received.code(), StatusCode::kUnavailable);
  held.clear();
  EXPECT_TRUE(service_.protocol_kept());
  EXPECT_TRUE(Connect() != nullptr) << "others are served on";
}

TEST_P(LinkContract, SessionsOpenAndCloseOnceEach) {
  Start({.lanes = 2});
  std::set<uint32_t> lanes;
  for (int i = 0; i < 8; ++i) {
    auto link = Connect();
    lanes.insert(service_.last_info().lane);
    EXPECT_TRUE(Echo(*link, "x").ok());
  }
  EXPECT_EQ(lanes, (std::set<uint32_t>{0, 1})) << "sessions are spread";
  ASSERT_TRUE(service_.WaitForClosed(8));
  EXPECT_EQ(service_.opened(), 8);
  EXPECT_TRUE(service_.protocol_kept());
  const ServerStats stats = node_->server().stats();
  EXPECT_EQ(stats.sessions_total, 8);
  EXPECT_EQ(stats.sessions_open, 0);
  EXPECT_EQ(stats.bad_messages, 0);
}

// Links come and go while the server stops: nothing hangs, every call ends.
TEST_P(LinkContract, StopWhileLinksAreBusy) {
  Start({.lanes = 2});
  std::atomic<bool> stopping = false;
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      while (!stopping) {
        auto link = node_->Connect({.connect_timeout = absl::Seconds(5)});
        if (!link.ok()) continue;
        for (int i = 0; i < 20; ++i) {
          if (t == 0) {
            answered += ReadPayload(**link, i, 10'000).ok();
          } else {
            answered += Echo(**link, "x").ok();
          }
        }
      }
    });
  }
  while (answered < 200) std::this_thread::yield();
  node_->server().Stop();
  stopping = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(service_.opened(), service_.closed());
  EXPECT_TRUE(service_.protocol_kept());
}

}  // namespace
}  // namespace cistern::transport
