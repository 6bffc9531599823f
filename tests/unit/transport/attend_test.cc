// Who waits for a reply on a unix link reads it himself, and what comes for others meanwhile.
#include <atomic>
#include <csignal>
#include <thread>

#include <pthread.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "base/mutex.h"
#include "tests/unit/transport/test_service.h"
#include "tests/unit/transport/test_socket.h"
#include "transport/link.h"

namespace cistern::transport {
namespace {

using absl::StatusCode;

// One call, and the thread that completed it.
struct Answered {
  std::atomic<bool> there = false;
  std::thread::id by;
  absl::StatusOr<Reply> reply = absl::UnknownError("none yet");

  Completion Done() {
    return [this](absl::StatusOr<Reply> answer) {
      reply = std::move(answer);
      by = std::this_thread::get_id();
      there = true;
    };
  }
  absl::FunctionRef<bool()> Here() { return here; }
  const std::function<bool()> here = [this] { return there.load(); };
};

// Waits, without attending, until `what`; false after ten seconds.
bool SoonTrue(const std::function<bool()>& what) {
  for (int i = 0; i < 10'000 && !what(); ++i) absl::SleepFor(absl::Milliseconds(1));
  return what();
}

class AttendTest : public testing::Test {
 protected:
  AttendTest() {
    auto server = StartServer({.unix_path = path_.path()}, &service_);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    auto link = Connect(absl::StrCat("unix:", path_.path()), {});
    EXPECT_TRUE(link.ok()) << link.status();
    link_ = *std::move(link);
  }

  void Call(Answered& into, absl::Duration deadline = absl::Seconds(30)) {
    AdminRequest request;
    request.model_name = "text";
    link_->Call(std::move(request), {.deadline = deadline}, into.Done());
  }

  // Attends until `mine` is there. Then at the latest `answer` has run, on another thread, once the
  // link was being attended.
  void AttendWhile(Answered& mine, const std::function<void()>& answer) {
    std::atomic<bool> asked = false;
    std::thread node([&] {
      EXPECT_TRUE(SoonTrue([&] { return asked.load(); }));
      answer();
    });
    const auto here = [&] {
      asked = true;  // whoever asks is reading
      return mine.there.load();
    };
    // The link's own thread may be at the end of its reading still.
    for (int i = 0; i < 10'000 && !asked; ++i) {
      link_->Attend(here, absl::InfiniteDuration());
      if (!asked) absl::SleepFor(absl::Milliseconds(1));
    }
    node.join();
  }
  // The node answers all that it holds, as soon as `calls` are there.
  std::function<void()> ReleaseAll(size_t calls) {
    return [this, calls] {
      EXPECT_TRUE(service_.WaitForHeld(calls));
      service_.Release();
    };
  }

  const std::thread::id me_ = std::this_thread::get_id();
  SocketPath path_;
  TestService service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Link> link_;
};

TEST_F(AttendTest, WhoAttendsCompletesHisCallHimself) {
  for (int i = 0; i < 20; ++i) {
    service_.Hold();
    Answered mine;
    Call(mine);
    AttendWhile(mine, ReleaseAll(1));
    ASSERT_TRUE(mine.there);
    EXPECT_TRUE(mine.reply.ok()) << mine.reply.status();
    EXPECT_EQ(mine.by, me_);
  }
}

TEST_F(AttendTest, WhatComesForOthersMeanwhileIsCompletedToo) {
  service_.Hold();
  Answered others, mine;  // answered in this order
  Call(others);
  Call(mine);
  AttendWhile(mine, ReleaseAll(2));
  ASSERT_TRUE(mine.there && others.there);
  EXPECT_EQ(others.by, me_);
}

TEST_F(AttendTest, WithoutAnAttenderTheLinkReadsAgain) {
  service_.Hold();
  Answered mine, others;
  Call(mine);
  Call(others);
  ASSERT_TRUE(service_.WaitForHeld(2));
  auto held = service_.TakeHeld();
  AttendWhile(mine, [&] { TestService::Answer(std::move(held[0])); });
  ASSERT_TRUE(mine.there);
  EXPECT_FALSE(others.there);
  TestService::Answer(std::move(held[1]));
  ASSERT_TRUE(SoonTrue(others.here));
  EXPECT_NE(others.by, me_);
}

TEST_F(AttendTest, OneAtATime) {
  service_.Hold();
  Answered first, second;
  Call(first);
  Call(second);
  ASSERT_TRUE(service_.WaitForHeld(2));
  std::atomic<bool> asked = false;
  const auto here = [&] {
    asked = true;
    return first.there.load();
  };
  std::thread attending([&] {
    for (int i = 0; i < 10'000 && !asked; ++i) {
      link_->Attend(here, absl::Seconds(30));
      if (!asked) absl::SleepFor(absl::Milliseconds(1));
    }
  });
  ASSERT_TRUE(SoonTrue([&] { return asked.load(); }));
  link_->Attend(second.Here(), absl::Seconds(30));  // at once: somebody else reads
  EXPECT_FALSE(second.there);
  auto held = service_.TakeHeld();
  TestService::Answer(std::move(held[1]));
  ASSERT_TRUE(SoonTrue(second.here));
  EXPECT_EQ(second.by, attending.get_id());
  TestService::Answer(std::move(held[0]));
  attending.join();
  EXPECT_TRUE(first.there);
}

TEST_F(AttendTest, NotForLongerThanItIsAskedTo) {
  service_.Hold();
  Answered mine;
  Call(mine);
  link_->Attend(mine.Here(), absl::Milliseconds(20));  // it returns
  EXPECT_FALSE(mine.there);
  service_.Release();
  EXPECT_TRUE(SoonTrue(mine.here));
}

TEST_F(AttendTest, ADeadlineEndsIt) {
  service_.Hold();
  Answered mine;
  Call(mine, absl::Milliseconds(20));
  link_->Attend(mine.Here(), absl::InfiniteDuration());  // it returns
  ASSERT_TRUE(SoonTrue(mine.here));
  EXPECT_EQ(mine.reply.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(mine.by, me_) << "the link's own thread keeps the deadlines";
}

TEST_F(AttendTest, TheNodesDeathEndsIt) {
  service_.Hold();
  Answered mine;
  Call(mine);
  AttendWhile(mine, [this] {
    EXPECT_TRUE(service_.WaitForHeld(1));
    server_.reset();
  });
  ASSERT_TRUE(SoonTrue(mine.here));
  EXPECT_EQ(mine.reply.status().code(), StatusCode::kUnavailable);
  EXPECT_FALSE(link_->alive());
  link_->Attend([] { return false; }, absl::InfiniteDuration());  // at once: there is no link
}

// Replies race with deadlines: a call ends once, by the one or by the other, and a late reply is
// not lost.
TEST_F(AttendTest, AReplyOrADeadlineButNeverNeither) {
  std::atomic<int> ended = 0, late = 0, in_time = 0;
  for (int i = 0; i < 300; ++i) {
    service_.Hold();
    Answered mine;
    AdminRequest request;
    CallOptions options{.deadline = absl::Milliseconds(2)};
    options.late = [&](const Reply&) { ++late; };
    link_->Call(std::move(request), std::move(options),
                [&, done = mine.Done()](absl::StatusOr<Reply> reply) mutable {
                  ++ended;
                  if (reply.ok()) ++in_time;
                  done(std::move(reply));
                });
    std::thread node([&] {
      EXPECT_TRUE(service_.WaitForHeld(1));
      absl::SleepFor(absl::Microseconds(1000 + 10 * (i % 100)));
      service_.Release();
    });
    link_->Attend(mine.Here(), absl::InfiniteDuration());
    node.join();
    ASSERT_TRUE(SoonTrue(mine.here));
  }
  EXPECT_EQ(ended, 300);
  EXPECT_TRUE(SoonTrue([&] { return late + in_time == 300; })) << late << " late, " << in_time;
}

// The link's own thread does not look for replies any more once somebody has attended the link,
// unless there is one to look for.
class LeftAloneTest : public AttendTest {
 protected:
  LeftAloneTest() { LeaveAlone(); }
  // A call whose reply was read on this thread: he who read it has left since.
  void LeaveAlone() {
    for (int i = 0; i < 10'000; ++i) {
      Answered mine;
      link_->Call(AdminRequest{}, {.attended = true}, mine.Done());
      link_->Attend(mine.Here(), absl::InfiniteDuration());
      ASSERT_TRUE(SoonTrue(mine.here));
      if (mine.by == me_) return;
    }
    FAIL() << "the link's own thread reads every reply";
  }
};

TEST_F(LeftAloneTest, WhatNobodyAttendsIsCompleted) {
  for (int i = 0; i < 20; ++i) {
    Answered mine;
    Call(mine);
    ASSERT_TRUE(SoonTrue(mine.here));
    EXPECT_TRUE(mine.reply.ok()) << mine.reply.status();
    EXPECT_NE(mine.by, me_);
    LeaveAlone();
  }
}

TEST_F(LeftAloneTest, TheNodesDeathIsNoticed) {
  server_.reset();
  EXPECT_TRUE(SoonTrue([this] { return !link_->alive(); }));
}

TEST_F(LeftAloneTest, WhatComesTooLateIsRead) {
  service_.Hold();
  std::atomic<int> late = 0;
  CallOptions options{.deadline = absl::Milliseconds(20)};
  options.late = [&](const Reply&) { ++late; };
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(CallAndWait(*link_, AdminRequest{}, std::move(options)).status()));
  ASSERT_TRUE(service_.WaitForHeld(1));
  service_.Release();
  EXPECT_TRUE(SoonTrue([&] { return late == 1; }));
}

TEST_F(LeftAloneTest, WhatExpiresBeforeItsCallerComesToAttendIsRead) {
  service_.Hold();
  std::atomic<int> late = 0;
  CallOptions options{.deadline = absl::Milliseconds(1)};
  options.late = [&](const Reply&) { ++late; };
  options.attended = true;
  Answered mine;
  link_->Call(AdminRequest{}, std::move(options), mine.Done());
  ASSERT_TRUE(SoonTrue(mine.here));  // and it is not attended for
  EXPECT_EQ(mine.reply.status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(service_.WaitForHeld(1));
  service_.Release();
  EXPECT_TRUE(SoonTrue([&] { return late == 1; }));
}

// Each sleep is shorter than it was meant to be, and none is begun anew.
TEST_F(LeftAloneTest, SignalsDoNotKeepItAsleep) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  struct sigaction before = {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  service_.Hold();
  Answered mine;
  Call(mine);
  std::atomic<bool> returned = false;
  std::thread signals([&, me = pthread_self()] {
    for (int i = 0; i < 10'000 && !returned; ++i) {
      pthread_kill(me, SIGUSR1);
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_TRUE(returned) << "it slept for as long as signals came";
  });
  link_->Attend(mine.Here(), absl::Milliseconds(100));
  returned = true;
  signals.join();
  service_.Release();
  EXPECT_TRUE(SoonTrue(mine.here));
  ASSERT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
}

TEST_F(LeftAloneTest, WhoSaidThatHeWouldAttendAndCannotHasHisReply) {
  service_.Hold();
  Answered first, second;
  Call(first);
  ASSERT_TRUE(service_.WaitForHeld(1));
  AttendWhile(first, [&] {
    link_->Call(AdminRequest{}, {.attended = true}, second.Done());
    EXPECT_TRUE(service_.WaitForHeld(2));
    link_->Attend(second.Here(), absl::InfiniteDuration());  // at once: somebody else reads
    auto held = service_.TakeHeld();
    TestService::Answer(std::move(held[0]));
    EXPECT_TRUE(SoonTrue(first.here));
    TestService::Answer(std::move(held[1]));  // when he may have left
  });
  EXPECT_TRUE(SoonTrue(second.here));
}

TEST_F(AttendTest, ManyThreadsThatWait) {
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const std::string text = absl::StrCat(t, ".", i);
        const auto reply = Echo(*link_, text);
        if (reply.ok() && *reply == text) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 6 * 300);
}

// Calls that are attended, calls that are not, and calls that expire, on one link: each ends.
TEST_F(AttendTest, ManyThreadsOfEveryKind) {
  constexpr int kRounds = 200;
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0, expired = 0, late = 0;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        if (t % 3 == 0) {
          answered += Echo(*link_, absl::StrCat(t, ".", i)).ok() ? 1 : 0;
        } else if (t % 3 == 1) {
          Answered mine;
          Call(mine);
          ASSERT_TRUE(SoonTrue(mine.here));
          answered += mine.reply.ok() ? 1 : 0;
        } else {
          CallOptions options{.deadline = absl::Microseconds(1 + i)};
          options.late = [&](const Reply&) { ++late; };
          const auto reply = CallAndWait(*link_, AdminRequest{}, std::move(options));
          answered += reply.ok() ? 1 : 0;
          expired += absl::IsDeadlineExceeded(reply.status()) ? 1 : 0;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered + expired, 6 * kRounds);
  EXPECT_TRUE(SoonTrue([&] { return late == expired; })) << late << " of " << expired;
}

}  // namespace
}  // namespace cistern::transport
