// PendingCalls: a call leaves exactly once, by its reply, its deadline or the connection's end.
#include "transport/rpc/pending_calls.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace cistern::transport {
namespace {

MonoTime At(int ms) { return MonoTime() + std::chrono::milliseconds(ms); }

PendingCall Call(MonoTime deadline, int* completed = nullptr, absl::Status* status = nullptr) {
  PendingCall call;
  call.deadline = deadline;
  call.done = [completed, status](absl::StatusOr<Reply> reply) {
    if (completed != nullptr) ++*completed;
    if (status != nullptr) *status = reply.status();
  };
  return call;
}

uint64_t Add(PendingCalls& calls, PendingCall call) {
  const auto id = calls.Add(call);
  EXPECT_TRUE(id.ok());
  return id.value_or(0);
}

TEST(PendingCallsTest, ACallIsTakenOnce) {
  PendingCalls calls(10);
  const uint64_t id = Add(calls, Call(At(5)));
  EXPECT_NE(id, 0);
  EXPECT_EQ(calls.size(), 1);
  auto taken = calls.Take(id);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->call_id, id);
  EXPECT_FALSE(calls.Take(id).has_value());
  EXPECT_TRUE(calls.TakeExpired(At(100)).empty());
  EXPECT_TRUE(calls.Close(absl::UnavailableError("")).empty());
}

TEST(PendingCallsTest, DeadlinesComeInOrder) {
  PendingCalls calls(10);
  const uint64_t late = Add(calls, Call(At(30)));
  const uint64_t early = Add(calls, Call(At(10)));
  const uint64_t middle = Add(calls, Call(At(20)));
  EXPECT_EQ(calls.NextDeadline(), At(10));
  EXPECT_TRUE(calls.TakeExpired(At(9)).empty());
  auto expired = calls.TakeExpired(At(20));
  ASSERT_EQ(expired.size(), 2);
  EXPECT_EQ(expired[0].call_id, early);
  EXPECT_EQ(expired[1].call_id, middle);
  EXPECT_EQ(calls.NextDeadline(), At(30));
  EXPECT_TRUE(calls.Take(late).has_value());
  EXPECT_EQ(calls.NextDeadline(), kNever);
}

TEST(PendingCallsTest, OneTooManyIsRefusedAndUntouched) {
  PendingCalls calls(2);
  const uint64_t first = Add(calls, Call(kNever));
  Add(calls, Call(kNever));
  int completed = 0;
  PendingCall third = Call(kNever, &completed);
  EXPECT_EQ(calls.Add(third).status().code(), absl::StatusCode::kResourceExhausted);
  third.done(absl::CancelledError());
  EXPECT_EQ(completed, 1) << "its completion is still its caller's";
  calls.Take(first);
  EXPECT_TRUE(calls.Add(third).ok());
}

TEST(PendingCallsTest, CloseHandsOutAllInOrderAndRefusesMore) {
  PendingCalls calls(10);
  for (int i = 0; i < 5; ++i) Add(calls, Call(At(100 - i)));
  const auto left = calls.Close(absl::UnavailableError("first"));
  ASSERT_EQ(left.size(), 5);
  for (int i = 1; i < 5; ++i) EXPECT_LT(left[i - 1].call_id, left[i].call_id);
  EXPECT_TRUE(calls.Close(absl::CancelledError("second")).empty());
  PendingCall call = Call(kNever);
  EXPECT_EQ(calls.Add(call).status(), absl::UnavailableError("first"));
  EXPECT_FALSE(calls.PutBack(call));
}

TEST(PendingCallsTest, AnExpiredCallCanBePutBackBeyondTheLimit) {
  PendingCalls calls(1);
  const uint64_t id = Add(calls, Call(At(1)));
  auto expired = calls.TakeExpired(At(1));
  ASSERT_EQ(expired.size(), 1);
  Add(calls, Call(At(5)));
  expired[0].deadline = At(2);
  EXPECT_TRUE(calls.PutBack(expired[0]));
  EXPECT_EQ(calls.size(), 2);
  EXPECT_EQ(calls.NextDeadline(), At(2));
  EXPECT_TRUE(calls.Take(id).has_value());
}

TEST(PendingCallsTest, DestructionCompletesWhatIsLeft) {
  int completed = 0;
  absl::Status status;
  {
    PendingCalls calls(1);
    Add(calls, Call(kNever, &completed, &status));
  }
  EXPECT_EQ(completed, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

// Deadlines of calls that are gone are forgotten, also with many calls that outlive them.
TEST(PendingCallsTest, ManyShortCallsBesideLongOnes) {
  PendingCalls calls(1000);
  std::vector<uint64_t> kept;
  for (int i = 0; i < 100; ++i) kept.push_back(Add(calls, Call(At(1'000'000 + i))));
  for (int i = 0; i < 100'000; ++i) calls.Take(Add(calls, Call(At(2'000'000 + i))));
  EXPECT_EQ(calls.size(), 100);
  EXPECT_EQ(calls.NextDeadline(), At(1'000'000));
  EXPECT_EQ(calls.TakeExpired(At(1'000'049)).size(), 50);
  EXPECT_EQ(calls.TakeExpired(At(9'000'000)).size(), 50);
}

// Replies, deadlines and the end race for the same calls: each completes once.
TEST(PendingCallsTest, EachCallHasOneWinner) {
  for (int round = 0; round < 50; ++round) {
    PendingCalls calls(1000);
    std::vector<std::atomic<int>> completed(200);
    std::vector<uint64_t> ids;
    for (int i = 0; i < 200; ++i) {
      PendingCall call;
      call.deadline = At(i);
      call.done = [&completed, i](const absl::StatusOr<Reply>&) { ++completed[i]; };
      ids.push_back(Add(calls, std::move(call)));
    }
    std::thread replies([&] {
      for (const uint64_t id : ids) {
        if (auto call = calls.Take(id)) call->done(Reply(WriteReply()));
      }
    });
    std::thread deadlines([&] {
      for (int i = 199; i >= 0; i -= 7) {
        for (PendingCall& call : calls.TakeExpired(At(199 - i)))
          call.done(absl::DeadlineExceededError(""));
      }
    });
    std::thread end([&] {
      for (PendingCall& call : calls.Close(absl::UnavailableError("")))
        call.done(absl::UnavailableError(""));
    });
    replies.join();
    deadlines.join();
    end.join();
    for (int i = 0; i < 200; ++i) ASSERT_EQ(completed[i], 1) << i;
  }
}

}  // namespace
}  // namespace cistern::transport
