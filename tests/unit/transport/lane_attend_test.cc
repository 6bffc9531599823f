// A lane whose turn another thread takes: for a task, or while it waits for what the lane brings.
#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include <sys/resource.h>
#include <time.h>

#include "gtest/gtest.h"

#include "tests/unit/transport/fake_hook.h"
#include "transport/rpc/lane.h"

namespace cistern::transport {
namespace {

using std::chrono::milliseconds;

class LaneAttendTest : public testing::Test {
 protected:
  void SetUp() override {
    lane_->RunAndWait([this] {
      lane_id_ = std::this_thread::get_id();
      pthread_getcpuclockid(pthread_self(), &clock_);
      EXPECT_TRUE(lane_->AddPollHook(&hook_, hook_.fd()).ok());
    });
  }
  void TearDown() override {
    lane_->RunAndWait([this] { lane_->RemovePollHook(&hook_); });
  }

  // Once the lane's thread sleeps.
  void TakeTurn(absl::FunctionRef<void()> task) {
    while (!lane_->TryRun(task)) std::this_thread::sleep_for(milliseconds(1));
  }
  void AttendUntil(absl::FunctionRef<bool()> done) {
    while (!done()) {
      lane_->Attend(done, MonoNow() + milliseconds(100));
      std::this_thread::yield();
    }
  }
  double LaneCpuSeconds() const {
    timespec time = {};
    clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + time.tv_nsec * 1e-9;
  }

  std::unique_ptr<Lane> lane_ = std::move(Lane::Start("attended")).value();
  std::thread::id lane_id_;
  clockid_t clock_ = 0;
  FakeHook hook_;
};

TEST_F(LaneAttendTest, ATaskRunsHereAsIfOnTheLane) {
  bool ran = false;
  TakeTurn([&] {
    ran = true;
    EXPECT_TRUE(lane_->OnLaneThread());
  });
  EXPECT_TRUE(ran);
  EXPECT_FALSE(lane_->OnLaneThread());
}

TEST_F(LaneAttendTest, NobodyElseRunsWhileTheTurnIsTaken) {
  std::promise<void> began, go_on;
  std::future<void> may_go_on = go_on.get_future();
  lane_->Post([&] {
    began.set_value();
    may_go_on.wait();
  });
  began.get_future().wait();
  bool ran = false;
  EXPECT_FALSE(lane_->TryRun([&] { ran = true; }));
  lane_->Attend([] { return false; }, MonoNow() + std::chrono::hours(1));  // returns soon
  EXPECT_FALSE(ran);
  go_on.set_value();
  lane_->RunAndWait([] {});  // before the promises go
}

TEST_F(LaneAttendTest, WhatTheHooksBringIsServedByWhoAttends) {
  std::atomic<bool> there = false;
  std::thread source([&] {
    for (int i = 0; i < 50; ++i) {
      hook_.Bring(3);
      std::this_thread::sleep_for(milliseconds(1));
    }
    there = true;
  });
  std::atomic<int> here = 0;
  const auto done = [&] {
    if (hook_.last_on.load() == std::this_thread::get_id()) ++here;
    return there && hook_.done == 150;
  };
  AttendUntil(done);
  source.join();
  EXPECT_GT(here, 0);
  EXPECT_EQ(hook_.last_on.load(), std::this_thread::get_id());
}

TEST_F(LaneAttendTest, PostsTimersAndDescriptorsAreServedMeanwhile) {
  std::atomic<bool> posted = false, timed = false, read = false;
  FakeHook other;  // for its descriptor
  Lane::FdToken token;
  TakeTurn([&] {
    lane_->AddTimer(MonoNow() + milliseconds(20), [&] {
      EXPECT_TRUE(lane_->OnLaneThread());
      timed = true;
    });
    token = *lane_->AddFd(other.fd(), EPOLLIN, [&](uint32_t) {
      other.Arm(true);
      read = true;
    });
  });
  std::thread source([&] {
    std::this_thread::sleep_for(milliseconds(5));
    lane_->Post([&] { posted = true; });
    other.Bring(0);
  });
  AttendUntil([&] { return posted && timed && read; });
  source.join();
  lane_->RunAndWait([&] { lane_->RemoveFd(token); });
}

TEST_F(LaneAttendTest, ItEndsInTimeAndWhenTheLaneStops) {
  std::atomic<int> rounds = 0;
  const MonoTime until = MonoNow() + milliseconds(50);
  while (MonoNow() < until) {
    lane_->Attend([&] { return ++rounds, false; }, until);
  }
  EXPECT_GT(rounds, 0);

  auto second = std::move(Lane::Start("stops")).value();
  FakeHook hook;
  second->RunAndWait([&] { EXPECT_TRUE(second->AddPollHook(&hook, hook.fd()).ok()); });
  std::atomic<bool> ended = false;
  std::promise<void> attends;
  std::thread waiter([&] {
    bool told = false;
    const auto done = [&] {
      if (!std::exchange(told, true)) attends.set_value();
      return false;
    };
    while (!told) second->Attend(done, kNever);
    ended = true;
  });
  attends.get_future().wait();
  second->Stop();
  waiter.join();
  EXPECT_TRUE(ended);
}

// Whose thread never sleeps by itself.
TEST_F(LaneAttendTest, ABusyLaneIsHandedOver) {
  class BusyHook final : public PollHook {
   public:
    bool Progress() override { return ++rounds > 0; }
    bool Arm(bool) override { return false; }
    std::atomic<uint64_t> rounds = 0;
  };
  BusyHook busy;
  FakeHook for_its_descriptor;
  lane_->RunAndWait([&] { EXPECT_TRUE(lane_->AddPollHook(&busy, for_its_descriptor.fd()).ok()); });
  for (int i = 0; i < 5; ++i) {
    const uint64_t before = busy.rounds;
    while (busy.rounds == before) std::this_thread::yield();  // the lane's thread is at work again
    bool here = false;
    const MonoTime until = MonoNow() + std::chrono::seconds(20);
    while (!here && MonoNow() < until) {
      lane_->Attend([&] { return here = true; }, until);
    }
    EXPECT_TRUE(here);
  }
  lane_->RunAndWait([&] { lane_->RemovePollHook(&busy); });
}

// Who has asked in vain does not keep the lane's thread from its work.
TEST_F(LaneAttendTest, AskingATurnThatIsNotGivenChangesNothing) {
  std::promise<void> began, go_on;
  std::future<void> may_go_on = go_on.get_future();
  lane_->Post([&] {
    began.set_value();
    may_go_on.wait();
  });
  began.get_future().wait();
  bool here = false;
  lane_->Attend([&] { return here = true; }, MonoNow() + milliseconds(5));
  EXPECT_FALSE(here);
  go_on.set_value();
  hook_.Bring(1);
  const MonoTime until = MonoNow() + std::chrono::seconds(20);
  while (hook_.done < 1 && MonoNow() < until) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(hook_.last_on.load(), lane_id_);
  lane_->RunAndWait([] {});  // before the promises go
}

// Nobody comes back: the lane's thread takes over by itself.
TEST_F(LaneAttendTest, WhatComesAfterwardsFindsTheLane) {
  for (int round = 1; round <= 20; ++round) {
    TakeTurn([] {});
    hook_.Bring(1);
    const MonoTime until = MonoNow() + std::chrono::seconds(20);
    while (hook_.done < round && MonoNow() < until) std::this_thread::sleep_for(milliseconds(1));
    ASSERT_EQ(hook_.done, round);
    EXPECT_EQ(hook_.last_on.load(), lane_id_);
  }
}

// One who could not have the turn waits elsewhere: what he waits for comes although the first one
// does not return.
TEST_F(LaneAttendTest, WhoIsTurnedAwayIsServedByTheLane) {
  std::promise<void> holds;
  std::atomic<bool> turned_away = false;
  std::thread first([&] {
    bool told = false;
    while (!told) {
      lane_->Attend(
          [&] {
            if (!std::exchange(told, true)) holds.set_value();
            return turned_away.load();
          },
          kNever);
    }
  });
  holds.get_future().wait();
  lane_->Attend([] { return false; }, kNever);
  turned_away = true;
  first.join();
  hook_.Bring(1);
  const MonoTime until = MonoNow() + std::chrono::seconds(20);
  while (hook_.done < 1 && MonoNow() < until) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(hook_.last_on.load(), lane_id_);
}

// The guard has fired while somebody attended, and somebody else was turned away.
TEST_F(LaneAttendTest, ALaneThatWasFoughtForIsIdleAgain) {
  for (int round = 0; round < 5; ++round) {
    std::atomic<bool> turned_away = false;
    std::promise<void> holds;
    std::thread first([&] {
      bool told = false;
      const MonoTime until = MonoNow() + milliseconds(3);
      while (!told) {
        lane_->Attend(
            [&] {
              if (!std::exchange(told, true)) holds.set_value();
              return turned_away && MonoNow() > until;
            },
            kNever);
      }
    });
    holds.get_future().wait();
    std::this_thread::sleep_for(milliseconds(1));
    lane_->Attend([] { return false; }, MonoNow() + milliseconds(1));
    turned_away = true;
    first.join();
  }
  std::this_thread::sleep_for(milliseconds(20));
  const double before = LaneCpuSeconds();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(LaneCpuSeconds() - before, 0.02);
}

TEST_F(LaneAttendTest, ATimerThatIsSetMeanwhileIsNotMissed) {
  std::promise<std::thread::id> ran;
  TakeTurn([&] {
    lane_->AddTimer(MonoNow() + milliseconds(30),
                    [&] { ran.set_value(std::this_thread::get_id()); });
  });
  EXPECT_EQ(ran.get_future().get(), lane_id_);
  lane_->RunAndWait([] {});  // before the promise goes
}

// The lane's thread sleeps until then already. It arms each time before it sleeps.
TEST_F(LaneAttendTest, ATimerThatIsKnownWakesNobodyAgain) {
  TakeTurn([&] { lane_->AddTimer(MonoNow() + std::chrono::seconds(30), [] {}); });
  std::this_thread::sleep_for(milliseconds(20));  // it has woken for that
  constexpr int kTurns = 2000;
  const int before = hook_.arms;
  const MonoTime begun = MonoNow();
  for (int turns = 0; turns < kTurns;) {
    turns += lane_->TryRun([] {}) ? 1 : 0;
  }
  // It looks now and then whether it should watch the hooks again.
  const auto looks = static_cast<int>((MonoNow() - begun) / Lane::kReturnsWithin);
  EXPECT_LE(hook_.arms - before, 2 * looks + 5);
}

// There is nothing to wait for but what its own thread waits for.
TEST_F(LaneAttendTest, ALaneWithoutHooksIsNotAttended) {
  auto plain = std::move(Lane::Start("plain")).value();
  for (int i = 0; i < 20; ++i) {
    bool ran = false;
    EXPECT_FALSE(plain->TryRun([&] { ran = true; }));
    plain->Attend([&] { return ran = true; }, MonoNow() + std::chrono::hours(1));
    EXPECT_FALSE(ran);
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(plain->RunAndWait([] {}));
}

TEST_F(LaneAttendTest, AHookForWhichThereIsNoDescriptorIsRefused) {
  auto lane = std::move(Lane::Start("full")).value();
  FakeHook hook;
  absl::Status bad, full;
  lane->RunAndWait([&] {
    rlimit before;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    full = lane->AddPollHook(&hook, hook.fd());
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    bad = lane->AddPollHook(&hook, -1);
  });
  EXPECT_TRUE(absl::IsResourceExhausted(bad)) << bad;
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  lane->RunAndWait([&] { EXPECT_TRUE(lane->AddPollHook(&hook, hook.fd()).ok()); });
  hook.Bring(3);
  const MonoTime until = MonoNow() + std::chrono::seconds(20);
  while (hook.done < 3 && MonoNow() < until) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(hook.done, 3);
  lane->RunAndWait([&] { lane->RemovePollHook(&hook); });
}

TEST_F(LaneAttendTest, AnAttendedLaneIsIdleAgainAfterwards) {
  for (int i = 0; i < 10; ++i) TakeTurn([] {});
  std::this_thread::sleep_for(milliseconds(20));
  const double before = LaneCpuSeconds();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(LaneCpuSeconds() - before, 0.02);
}

}  // namespace
}  // namespace cistern::transport
