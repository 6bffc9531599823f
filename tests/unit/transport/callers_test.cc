// Callers: who has called in this stretch of time or the one before, each once.
#include "transport/rpc/callers.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace cistern::transport {
namespace {

constexpr MonoTime kStart{std::chrono::hours(1)};

MonoTime AtStretch(int stretches) { return kStart + stretches * Callers::kStretch; }

TEST(CallersTest, EachIsCountedOnceInAStretch) {
  Callers callers(2, 4);
  std::vector<Callers::Mark> marks(3);
  EXPECT_EQ(callers.Count(AtStretch(0)), 0);
  for (int call = 0; call < 5; ++call) {
    for (Callers::Mark& mark : marks) callers.Called(&mark, AtStretch(0));
  }
  EXPECT_EQ(callers.Count(AtStretch(0)), 3);
}

TEST(CallersTest, TheStretchBeforeCountsTooAndOlderOnesDoNot) {
  Callers callers(2, 4);
  std::vector<Callers::Mark> marks(3);
  for (Callers::Mark& mark : marks) callers.Called(&mark, AtStretch(0));
  EXPECT_EQ(callers.Count(AtStretch(1)), 3);
  callers.Called(&marks[0], AtStretch(1));
  EXPECT_EQ(callers.Count(AtStretch(1)), 3);
  EXPECT_EQ(callers.Count(AtStretch(2)), 1);
  EXPECT_EQ(callers.Count(AtStretch(3)), 0);
  callers.Called(&marks[0], AtStretch(100));
  EXPECT_EQ(callers.Count(AtStretch(100)), 1);
}

TEST(CallersTest, CrowdedWhenWorkersAndLanesWantMoreThanThereIs) {
  const auto crowded = [](uint32_t sessions, uint32_t lanes, uint32_t processors) {
    Callers callers(lanes, processors);
    std::vector<Callers::Mark> marks(sessions);
    for (Callers::Mark& mark : marks) callers.Called(&mark, AtStretch(0));
    return callers.Crowded(AtStretch(0));
  };
  EXPECT_FALSE(crowded(0, 2, 2));
  EXPECT_FALSE(crowded(1, 2, 2)) << "a worker, and the lane that serves it";
  EXPECT_TRUE(crowded(2, 2, 2));
  EXPECT_TRUE(crowded(1, 2, 1));
  EXPECT_FALSE(crowded(6, 2, 8));
  EXPECT_TRUE(crowded(7, 2, 8));
}

TEST(CallersTest, FromManyThreads) {
  Callers callers(2, 4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      std::vector<Callers::Mark> marks(100);
      for (Callers::Mark& mark : marks) callers.Called(&mark, AtStretch(7));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(callers.Count(AtStretch(7)), 400);
}

}  // namespace
}  // namespace cistern::transport
