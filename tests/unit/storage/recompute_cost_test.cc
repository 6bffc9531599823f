// What it costs to compute an object again.
#include "storage/policy/recompute_cost.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace cistern::storage
