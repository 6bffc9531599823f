// Expected values are numpy's own: numpy.random.default_rng, version 2.4.
#include "tools/bench/pools/numpy_random.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

constexpr double kNear = 2e-13;  // numpy's tables were computed in double precision

TEST(NumpyRandomTest, RawDrawsAfterSeeding) {
  NumpyRandom random(1);
  for (const uint64_t expected : std::initializer_list<uint64_t>{
           0x8306bdf37922e4ff, 0xf35196bbc152a866, 0x24e7a4f608ec18cd, 0xf2dab0aed2ac6fd2}) {
    EXPECT_EQ(random.Next64(), expected);
  }
}

TEST(NumpyRandomTest, IntegersTakeHalvesAndKeepOneOverADouble) {
  NumpyRandom random(7);
  for (const uint64_t expected : std::initializer_list<uint64_t>{11, 9, 9, 11, 9})
    EXPECT_EQ(random.Integer(5, 12), expected);
  EXPECT_EQ(random.Uniform(), 0.22520718999059186);
  EXPECT_EQ(random.Integer(0, 10), 7u);  // from the half that was left before the double
}

TEST(NumpyRandomTest, IntegersOfAWideRangeRejectSomeDraws) {
  NumpyRandom random(7);
  for (const uint64_t expected : std::initializer_list<uint64_t>{
           2834714867, 2052539810, 2691641402, 1734877356, 2327057070, 2500953064}) {
    EXPECT_EQ(random.Integer(0, 3000000000), expected);
  }
}

// Two million draws pass every layer, the wedges and the tail (483 of them beyond its edge): one
// draw more or less anywhere would change the last.
TEST(NumpyRandomTest, NormalThroughEveryBranch) {
  NumpyRandom random(7);
  EXPECT_NEAR(random.Normal(), 0.0012301533574825742, kNear);
  EXPECT_NEAR(random.Normal(), 0.2987455375084699, kNear);
  double last = 0, largest = 0;
  for (int i = 2; i < 2000000; ++i) {
    last = random.Normal();
    largest = std::max(largest, std::abs(last));
  }
  EXPECT_NEAR(last, -0.43722195997503704, kNear);
  EXPECT_NEAR(largest, 5.5336016390169895, kNear);
}

TEST(NumpyRandomTest, ExponentialThroughEveryBranch) {
  NumpyRandom random(7);
  EXPECT_NEAR(random.Exponential(), 0.7075292557919215, kNear);
  EXPECT_NEAR(random.Exponential(), 1.025203348294905, kNear);
  double last = 0, largest = 0;
  for (int i = 2; i < 2000000; ++i) {
    last = random.Exponential();
    largest = std::max(largest, last);
  }
  EXPECT_NEAR(last, 1.5240242356943348, kNear);
  EXPECT_NEAR(largest, 14.404980909981422, kNear);
}

}  // namespace
}  // namespace cistern::tools
