#include "tools/bench/worker_cache.h"

#include <cstring>
#include <numeric>

#include "gtest/gtest.h"

#include "base/model_presets.h"

namespace cistern::tools {
namespace {

base::ModelSpec TwoLayers() {
  return base::WithLayers(base::ModelPreset("deepseek-v2-lite").value(), 2);
}

std::vector<base::TokenId> CountFrom100(uint32_t n) {
  std::vector<base::TokenId> tokens(n);
  std::iota(tokens.begin(), tokens.end(), 100);
  return tokens;
}

TEST(WorkerCacheTest, ComputedRowsMatchAndOthersDoNot) {
  WorkerCache cache(TwoLayers(), 300);
  cache.Begin(CountFrom100(300));
  cache.Compute({0, 200});
  EXPECT_EQ(cache.CountMismatches({0, 200}, -1), 0u);
  EXPECT_EQ(cache.CountMismatches({200, 300}, -1), 200u);  // 100 tokens, 2 layers
}

// Rows that an earlier call left behind must not pass for fetched ones.
TEST(WorkerCacheTest, ANewSequenceFindsNothingOfTheOldOne) {
  WorkerCache cache(TwoLayers(), 640);
  cache.Begin(CountFrom100(640));
  cache.Compute({0, 640});
  uint64_t mismatches = 0;
  for (int i = 0; i < 8; ++i) {
    cache.Begin(CountFrom100(640));
    mismatches += cache.CountMismatches({0, 640}, -1);
  }
  EXPECT_GT(mismatches, 8u * 640u * 2u / 2u);
}

TEST(WorkerCacheTest, DestinationDescribesTheRows) {
  WorkerCache cache(TwoLayers(), 200);
  cache.Begin(CountFrom100(200));
  cache.Compute({0, 200});
  const PagedCache d = cache.Destination();
  for (uint32_t t : {0u, 63u, 64u, 199u}) {
    const auto block = static_cast<uint64_t>(d.block_table[t / d.block_tokens]);
    ASSERT_LT(block, d.num_blocks);
    EXPECT_EQ(d.layer_base[1] + block * d.block_stride + t % d.block_tokens * d.row_stride,
              cache.Row(1, t));
  }
}

}  // namespace
}  // namespace cistern::tools
