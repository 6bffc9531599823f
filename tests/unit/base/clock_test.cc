// Time stands still until it is turned, and the real clock is the machine's.
#include "base/clock.h"

#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace cistern::base {
namespace {

TEST(ClockTest, ManualClockMovesOnlyWhenTurned) {
  ManualClock clock;
  EXPECT_EQ(clock.Now(), absl::UnixEpoch());
  EXPECT_EQ(clock.Now(), absl::UnixEpoch());
  clock.Advance(absl::Milliseconds(1500));
  clock.Advance(absl::Nanoseconds(1));
  EXPECT_EQ(clock.Now() - absl::UnixEpoch(), absl::Nanoseconds(1'500'000'001));
}

TEST(ClockTest, ManualClockIsSharedBetweenThreads) {
  ManualClock clock;
  std::thread turner([&] {
    for (int i = 0; i < 1000; ++i) clock.Advance(absl::Seconds(1));
  });
  absl::Time last = clock.Now();
  while (last < absl::UnixEpoch() + absl::Seconds(1000)) {
    const absl::Time now = clock.Now();
    ASSERT_GE(now, last);
    last = now;
  }
  turner.join();
  EXPECT_EQ(clock.Now(), absl::UnixEpoch() + absl::Seconds(1000));
}

TEST(ClockTest, RealClockIsTheMachines) {
  EXPECT_EQ(Clock::Real(), Clock::Real());
  const absl::Time before = absl::Now();
  const absl::Time now = Clock::Real()->Now();
  EXPECT_LE(before, now);
  EXPECT_LE(now, absl::Now());
}

}  // namespace
}  // namespace cistern::base
