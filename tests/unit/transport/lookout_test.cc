// Lookout: looks while it pays, on a clock of the test's.
#include "transport/rpc/lookout.h"

#include "gtest/gtest.h"

namespace cistern::transport {
namespace {

using Micros = Lookout::Micros;

MonoTime test_now;
Micros look_takes;  // longer than a microsecond when others run in between

class LookoutTest : public testing::Test {
 protected:
  LookoutTest() {
    test_now = MonoTime(std::chrono::hours(1));
    look_takes = Micros(1);
  }

  // Waits for something that comes `after` the beginning; how often it was looked for.
  int Await(Micros after) {
    const MonoTime comes = test_now + after;
    int looks = 0;
    bool looking = lookout_.Begin(allowed_);
    while (looking && test_now < comes) {
      ++looks;
      test_now += look_takes;
      looking = lookout_.Again();
    }
    test_now = std::max(test_now, comes);
    lookout_.Came();
    return looks;
  }

  bool allowed_ = true;
  Lookout lookout_{Micros(100), [] { return test_now; }};
};

TEST_F(LookoutTest, SleepsUntilSomethingCameSoon) {
  EXPECT_EQ(Await(Micros(30)), 0) << "nothing is known yet";
  EXPECT_EQ(Await(Micros(30)), 30);
  EXPECT_EQ(Await(Micros(30)), 30);
}

TEST_F(LookoutTest, LooksForABoundedTimeAndNotInVainTwice) {
  Await(Micros(30));
  EXPECT_EQ(Await(Micros(5000)), 100);
  EXPECT_EQ(Await(Micros(5000)), 0);
  EXPECT_EQ(Await(Micros(30)), 0) << "but it came soon:";
  EXPECT_EQ(Await(Micros(30)), 30);
}

TEST_F(LookoutTest, WhatASleeperIsWokenForCameALittleEarlier) {
  EXPECT_EQ(Await(Micros(140)), 0);
  EXPECT_EQ(Await(Micros(90)), 90);
  EXPECT_EQ(Await(Micros(140)), 100);
  EXPECT_EQ(Await(Micros(160)), 0);
  EXPECT_EQ(Await(Micros(90)), 0);
}

TEST_F(LookoutTest, SleepsForAWhileAfterItWasTakenOffItsProcessor) {
  Await(Micros(30));
  look_takes = Micros(40);
  EXPECT_EQ(Await(Micros(90)), 2) << "once more, for it was long";
  look_takes = Micros(1);
  EXPECT_EQ(Await(Micros(30)), 0);
  test_now += Lookout::kCrowdedFor;
  EXPECT_EQ(Await(Micros(30)), 30);
}

TEST_F(LookoutTest, SleepsWhileItIsNotAllowedToLook) {
  Await(Micros(30));
  allowed_ = false;
  EXPECT_EQ(Await(Micros(30)), 0);
  allowed_ = true;
  EXPECT_EQ(Await(Micros(30)), 30);
}

TEST_F(LookoutTest, OneWhoLookedAndSleptAfterAllIsNotAsked) {
  Await(Micros(30));
  ASSERT_TRUE(lookout_.Begin(true));
  while (lookout_.Again()) test_now += Micros(1);
  EXPECT_FALSE(lookout_.Again());
  EXPECT_FALSE(lookout_.Again());
}

}  // namespace
}  // namespace cistern::transport
