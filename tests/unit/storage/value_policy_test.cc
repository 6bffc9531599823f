// What an object is worth, and the order in which objects go.
#include "storage/policy/value_policy.h"

#include <gtest/gtest.h>

#include "storage/policy/victim_queue.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {
namespace {

TEST(RecomputeFlops, FollowsTheModelAndTheDepth) {
  base::ModelSpec spec = TestModel("m", 2, 64);
  base::ObjectHeader header = TestSegment(spec, 1, 0, 100);
  header.base_position = 0;
  const double nominal = RecomputeFlops(header, &spec);
  header.base_position = 32768;
  EXPECT_DOUBLE_EQ(RecomputeFlops(header, &spec), 2 * nominal)
      << "twice as much at the depth that doubles";

  spec.flops_per_token = 1000;
  EXPECT_DOUBLE_EQ(RecomputeFlops(header, &spec), 100 * 1000 * 2.0);
  spec.flops_per_token_pair = 3;
  EXPECT_DOUBLE_EQ(RecomputeFlops(header, &spec), 100 * 1000 + 3.0 * (100 * 32768 + 100 * 101 / 2));
}

TEST(RecomputeFlops, ABlobIsWorthItsBytes) {
  EXPECT_DOUBLE_EQ(RecomputeFlops(TestBlob(1, 2000), nullptr),
                   2 * RecomputeFlops(TestBlob(1, 1000), nullptr));
  EXPECT_GT(RecomputeFlops(TestBlob(1, 1), nullptr), 0.0);
}

TEST(ValuePolicy, DensityIsBounded) {
  base::ModelSpec spec = TestModel("m", 2, 64);
  const base::ObjectHeader header = TestSegment(spec, 1, 0, 10);
  spec.flops_per_token = 1;
  EXPECT_EQ(ValuePolicy::Density(header, &spec, 1 << 20), 1u) << "never worthless";
  spec.flops_per_token = UINT64_MAX;
  EXPECT_EQ(ValuePolicy::Density(header, &spec, 1), ValuePolicy::kMaxDensity);
  EXPECT_GT(ValuePolicy::Density(header, &spec, 0), 0u);
}

TEST(ValuePolicy, FrequencyRaisesAndInflationAges) {
  ValuePolicy policy;
  EXPECT_EQ(policy.Priority(100, 1), 100u);
  EXPECT_EQ(policy.Priority(100, 3), 300u);
  EXPECT_EQ(policy.Priority(100, 1000), 100u * ValuePolicy::kMaxFrequency);
  EXPECT_EQ(policy.Priority(100, 0), 100u);
  policy.OnEvict(250);
  EXPECT_EQ(policy.Priority(100, 1), 350u)
      << "what comes now outranks what was used thrice long ago";
  EXPECT_EQ(policy.Value(300), 50u);
  EXPECT_EQ(policy.Value(200), 0u);
  policy.OnEvict(10);
  EXPECT_EQ(policy.inflation(), 250u) << "it never falls";
  policy.OnEvict(ValuePolicy::kMaxPriority);
  EXPECT_EQ(policy.Priority(ValuePolicy::kMaxDensity, 16), ValuePolicy::kMaxPriority);
}

TEST(VictimQueue, LowestPriorityFirstThenTheOlder) {
  Object a, b, c;
  a.id = 1;
  b.id = 2;
  c.id = 3;
  VictimQueue queue;
  EXPECT_EQ(queue.Lowest(), nullptr);
  queue.Insert(20, &b);
  queue.Insert(30, &a);
  queue.Insert(20, &c);
  EXPECT_EQ(queue.Lowest(), &b);
  queue.Erase(20, b);
  EXPECT_EQ(queue.Lowest(), &c);
  queue.Erase(20, c);
  EXPECT_EQ(queue.Lowest(), &a);
}

}  // namespace
}  // namespace cistern::storage
