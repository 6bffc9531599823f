// What it costs to compute an object again.
#include "storage/policy/recompute_cost.h"

#include <gtest/gtest.h>

#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"
#include "tests/unit/storage/stored_fixture.h"

namespace cistern::storage {
namespace {

double Flops(const base::ObjectHeader& header, const base::ModelSpec* spec) {
  StoredHeaders stored;
  return RecomputeFlops(stored.Of(header, spec));
}

TEST(RecomputeFlops, FollowsTheModelAndTheDepth) {
  base::ModelSpec spec = TestModel("m", 2, 64);
  base::ObjectHeader header = TestSegment(spec, 1, 0, 100);
  header.base_position = 0;
  const double nominal = Flops(header, &spec);
  header.base_position = 32768;
  EXPECT_DOUBLE_EQ(Flops(header, &spec), 2 * nominal) << "twice as much at the depth that doubles";

  spec.flops_per_token = 1000;
  EXPECT_DOUBLE_EQ(Flops(header, &spec), 100 * 1000 * 2.0);
  spec.flops_per_token_pair = 3;
  EXPECT_DOUBLE_EQ(Flops(header, &spec), 100 * 1000 + 3.0 * (100 * 32768 + 100 * 101 / 2));
}

// A checkpoint: the whole prompt before it. A log: its share of what it saves with a checkpoint.
TEST(RecomputeFlops, AStateIsWorthAllThatIsBeforeIt) {
  base::ModelSpec spec = TestModel("m", 2, 64);
  spec.state = TestState();
  base::ObjectHeader chunk = TestSegment(spec, 1, 0, 100);
  chunk.base_position = 900;
  const base::ObjectHeader state = TestCheckpoint(spec, chunk, 100);
  const base::ObjectHeader log = TestLog(spec, state, 2, 10);
  const base::ObjectHeader first = TestFirstLog(spec, 2, 10);
  spec.flops_per_token = 1000;
  spec.flops_per_token_pair = 3;
  const auto prefill = [](double tokens) { return 1000 * tokens + 3 * tokens * (tokens + 1) / 2; };
  EXPECT_DOUBLE_EQ(Flops(state, &spec), prefill(1000));
  const double log_bytes = 10 * 120 + 288;
  EXPECT_DOUBLE_EQ(Flops(log, &spec), prefill(1010) * log_bytes / (log_bytes + 3 * 352));
  EXPECT_DOUBLE_EQ(Flops(first, &spec), prefill(10));

  spec.flops_per_token_pair = 0;
  chunk.base_position = 0;
  EXPECT_DOUBLE_EQ(Flops(state, &spec), 1000 * 1000 * (1 + 500.0 / 32768))
      << "its tokens have half of its depth before them on average";
}

TEST(RecomputeFlops, ABlobIsWorthItsBytes) {
  EXPECT_DOUBLE_EQ(Flops(TestBlob(1, 2000), nullptr), 2 * Flops(TestBlob(1, 1000), nullptr));
  EXPECT_GT(Flops(TestBlob(1, 1), nullptr), 0.0);
}

}  // namespace
}  // namespace cistern::storage
