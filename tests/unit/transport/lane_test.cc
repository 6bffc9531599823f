// Lane: what is posted runs in order on one thread, timers and descriptors wake it, and it sleeps
// otherwise.
#include "transport/rpc/lane.h"

#include <atomic>
#include <future>

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "gtest/gtest.h"

#include "tests/unit/transport/fake_hook.h"
#include "transport/rpc/once.h"

namespace cistern::transport {
namespace {

std::unique_ptr<Lane> NewLane() { return std::move(Lane::Start("test-lane")).value(); }

MonoTime In(int ms) { return MonoNow() + std::chrono::milliseconds(ms); }

TEST(LaneTest, TasksRunInOrderOnTheLane) {
  auto lane = NewLane();
  std::vector<int> ran;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(lane->Post([&, i] {
      EXPECT_TRUE(lane->OnLaneThread());
      ran.push_back(i);
    }));
  }
  EXPECT_FALSE(lane->OnLaneThread());
  EXPECT_TRUE(lane->RunAndWait([] {}));
  ASSERT_EQ(ran.size(), 1000);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST(LaneTest, RunAndWaitOnTheLaneItselfJustRuns) {
  auto lane = NewLane();
  int ran = 0;
  EXPECT_TRUE(lane->RunAndWait([&] { EXPECT_TRUE(lane->RunAndWait([&] { ++ran; })); }));
  EXPECT_EQ(ran, 1);
}

TEST(LaneTest, StopRunsWhatWasPostedAndRefusesMore) {
  auto lane = NewLane();
  std::atomic<int> ran = 0;
  for (int i = 0; i < 100; ++i) lane->Post([&] { ++ran; });
  lane->Stop();
  EXPECT_EQ(ran, 100);
  bool dropped = false;
  EXPECT_FALSE(lane->Post([guard = Sent([&] { dropped = true; })] {}));
  EXPECT_TRUE(dropped) << "a refused task is destroyed";
  EXPECT_FALSE(lane->RunAndWait([&] { ++ran; }));
  EXPECT_EQ(ran, 100);
  lane->Stop();
}

// The signal to stop comes while the lane is at its mail.
TEST(LaneTest, StopIsHeardWheneverItComes) {
  std::atomic<int> ran = 0;
  for (int i = 0; i < 2000; ++i) {
    auto lane = NewLane();
    for (int k = 0; k < i % 8; ++k) lane->Post([&] { ++ran; });
    lane->Stop();
  }
  EXPECT_EQ(ran, 2000 / 8 * 28);
}

TEST(LaneTest, TimersRunInTimeAndOrder) {
  auto lane = NewLane();
  std::promise<void> all;
  std::vector<int> ran;
  const MonoTime begin = MonoNow();
  lane->RunAndWait([&] {
    lane->AddTimer(In(30), [&] {
      ran.push_back(3);
      all.set_value();
    });
    lane->AddTimer(In(10), [&] { ran.push_back(1); });
    lane->AddTimer(In(20), [&] { ran.push_back(2); });
    lane->AddTimer(kNever, [&] { ran.push_back(4); });
  });
  all.get_future().wait();
  EXPECT_GE(MonoNow() - begin, std::chrono::milliseconds(30));
  lane->RunAndWait([&] { EXPECT_EQ(ran, (std::vector<int>{1, 2, 3})); });
}

TEST(LaneTest, ACancelledTimerDoesNotRun) {
  auto lane = NewLane();
  std::promise<void> later;
  bool cancelled_ran = false;
  lane->RunAndWait([&] {
    const Lane::TimerId id = lane->AddTimer(In(5), [&] { cancelled_ran = true; });
    lane->AddTimer(In(15), [&] { later.set_value(); });
    lane->CancelTimer(id);
    lane->CancelTimer(id);
    lane->CancelTimer(12345);
  });
  later.get_future().wait();
  EXPECT_FALSE(cancelled_ran);
}

TEST(LaneTest, ATimerMayCancelAnotherThatIsDue) {
  auto lane = NewLane();
  std::promise<void> later;
  bool ran = false;
  lane->RunAndWait([&] {
    const MonoTime now = MonoNow();
    auto second = std::make_shared<Lane::TimerId>(0);
    lane->AddTimer(now, [&, second] { lane->CancelTimer(*second); });
    *second = lane->AddTimer(now, [&] { ran = true; });
    lane->AddTimer(now, [&] { later.set_value(); });
  });
  later.get_future().wait();
  EXPECT_FALSE(ran);
}

TEST(LaneTest, ADescriptorWakesItsHandler) {
  auto lane = NewLane();
  const int fd = eventfd(0, EFD_NONBLOCK);
  std::promise<uint32_t> woken;
  Lane::FdToken token;
  lane->RunAndWait([&] {
    token = lane->AddFd(fd, EPOLLIN,
                        [&](uint32_t events) {
                          lane->RemoveFd(token);  // its own
                          woken.set_value(events);
                        })
                .value();
  });
  const uint64_t one = 1;
  ASSERT_EQ(write(fd, &one, sizeof(one)), sizeof(one));
  EXPECT_EQ(woken.get_future().get(), EPOLLIN);
  lane->RunAndWait([] {});
  close(fd);
}

// Two descriptors are ready at once and the first handler removes the second: it must not run any
// more.
TEST(LaneTest, ARemovedDescriptorIsNotServed) {
  auto lane = NewLane();
  const int fds[2] = {eventfd(1, EFD_NONBLOCK), eventfd(1, EFD_NONBLOCK)};
  Lane::FdToken tokens[2];
  int served = 0;
  lane->RunAndWait([&] {
    for (int i = 0; i < 2; ++i) {
      tokens[i] = lane->AddFd(fds[i], EPOLLIN,
                              [&](uint32_t) {
                                ++served;
                                for (const Lane::FdToken& token : tokens) lane->RemoveFd(token);
                              })
                      .value();
    }
  });
  lane->RunAndWait([] {});
  lane->RunAndWait([&] { EXPECT_EQ(served, 1); });
  for (const int fd : fds) close(fd);
}

TEST(LaneTest, EventsCanBeChangedFromAnyThread) {
  auto lane = NewLane();
  const int fd = eventfd(0, EFD_NONBLOCK);  // writable, not readable
  std::promise<void> writable;
  Lane::FdToken token;
  lane->RunAndWait([&] {
    token = lane->AddFd(fd, EPOLLIN,
                        [&](uint32_t events) {
                          EXPECT_EQ(events, EPOLLOUT);
                          lane->RemoveFd(token);
                          writable.set_value();
                        })
                .value();
  });
  lane->SetEvents(token, EPOLLOUT);
  writable.get_future().wait();
  lane->RunAndWait([] {});
  close(fd);
}

TEST(LaneTest, AddFdSaysWhatIsWrong) {
  auto lane = NewLane();
  lane->RunAndWait([&] {
    EXPECT_EQ(lane->AddFd(-1, EPOLLIN, [](uint32_t) {}).status().code(),
              absl::StatusCode::kResourceExhausted);
  });
}

TEST(LaneTest, HooksAreProgressedUntilIdleThenArmed) {
  auto lane = NewLane();
  FakeHook hook;
  hook.left = 100;
  hook.busy_once = true;
  lane->RunAndWait([&] { EXPECT_TRUE(lane->AddPollHook(&hook, hook.fd()).ok()); });
  // A timer runs after the hook has been armed and the lane has slept.
  std::promise<void> slept;
  lane->RunAndWait([&] { lane->AddTimer(In(5), [&] { slept.set_value(); }); });
  slept.get_future().wait();
  EXPECT_EQ(hook.done, 100);
  EXPECT_GE(hook.arms, 2) << "busy once, then armed";
  lane->RunAndWait([&] { lane->RemovePollHook(&hook); });
  hook.left = 7;
  lane->RunAndWait([] {});
  EXPECT_EQ(hook.left, 7) << "a removed hook is left alone";
}

class IdleLaneTest : public testing::TestWithParam<bool> {};  // whether it expects more
INSTANTIATE_TEST_SUITE_P(Either, IdleLaneTest, testing::Bool());

TEST_P(IdleLaneTest, UsesNoCpu) {
  auto lane = NewLane();
  clockid_t clock = 0;
  lane->RunAndWait([&] { pthread_getcpuclockid(pthread_self(), &clock); });
  FakeHook hook;
  lane->RunAndWait([&] { EXPECT_TRUE(lane->AddPollHook(&hook, hook.fd()).ok()); });
  const auto used = [&] {
    timespec time = {};
    clock_gettime(clock, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
  };
  for (int i = 0; i < 3; ++i) {
    lane->RunAndWait([&] {
      if (GetParam()) lane->Expect();
    });
  }
  const double before = used();
  const int arms = hook.arms;
  std::promise<void> elapsed;  // 200 ms of the lane's own idle time
  lane->RunAndWait([&] { lane->AddTimer(In(200), [&] { elapsed.set_value(); }); });
  elapsed.get_future().wait();
  EXPECT_LT(used() - before, 20e6) << "nanoseconds of CPU in 200 ms";
  EXPECT_LE(hook.arms - arms, 10) << "rounds of the loop";
  lane->RunAndWait([&] { lane->RemovePollHook(&hook); });
}

// Work that comes at once, again and again, and then some that does not: a lane that looks serves
// both.
TEST(LaneTest, ALaneThatExpectsMoreServesWhatComesSoonAndLate) {
  auto lane = NewLane();
  int ran = 0;  // the lane's own
  const auto serve = [&] {
    ++ran;
    lane->Expect();
  };
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(lane->RunAndWait(serve));
  std::promise<void> slept;
  lane->RunAndWait([&] { lane->AddTimer(In(20), [&] { slept.set_value(); }); });
  slept.get_future().wait();
  EXPECT_TRUE(lane->RunAndWait(serve));
  EXPECT_EQ(ran, 1001);
}

TEST(LaneTest, ManyThreadsPost) {
  auto lane = NewLane();
  int ran = 0;  // the lane's own
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) lane->Post([&] { ++ran; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  lane->RunAndWait([&] { EXPECT_EQ(ran, 20000); });
}

TEST(OnceTest, SentRunsExactlyOnce) {
  int ran = 0;
  {
    Sent sent([&] { ++ran; });
  }
  EXPECT_EQ(ran, 1) << "dropped";
  {
    Sent sent([&] { ++ran; });
    sent();
    sent();
  }
  EXPECT_EQ(ran, 2) << "called";
  {
    Sent a([&] { ++ran; });
    Sent b(std::move(a));
    Sent c;
    c = std::move(b);
  }
  EXPECT_EQ(ran, 3) << "moved";
  {
    Sent a([&] { ++ran; });
    a = Sent([&] { ++ran; });
    EXPECT_EQ(ran, 4) << "replaced";
  }
  EXPECT_EQ(ran, 5);
  Sent nothing;
  nothing();
}

TEST(OnceTest, ADroppedReceivedIsUnavailable) {
  std::vector<absl::Status> got;
  const auto keep = [&](absl::Status status) { got.push_back(std::move(status)); };
  { Received received(keep); }
  {
    Received received(keep);
    received(absl::OkStatus());
  }
  {
    Received a(keep);
    Received b(std::move(a));
    a = std::move(b);
  }
  ASSERT_EQ(got.size(), 3);
  EXPECT_EQ(got[0].code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(got[1].ok());
  EXPECT_EQ(got[2].code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace cistern::transport
