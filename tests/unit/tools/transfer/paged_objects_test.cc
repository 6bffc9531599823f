#include "tools/bench/transfer/paged_objects.h"

#include <set>

#include "gtest/gtest.h"

#include "base/model_presets.h"

namespace cistern::tools {
namespace {

PagedObjects Sample() {
  return {base::WithLayers(*base::ModelPreset("deepseek-v2-lite"), 2), 70, 3};
}

TEST(PagedObjectsTest, NoTwoRowsShareMemory) {
  const PagedObjects objects = Sample();
  std::set<std::byte*> rows;
  for (uint32_t i = 0; i < 3; ++i) {
    for (uint32_t layer = 0; layer < 2; ++layer) {
      for (uint32_t t = 0; t < 70; ++t) rows.insert(objects.Row(i, layer, t));
    }
  }
  EXPECT_EQ(rows.size(), 3u * 2 * 70);
}

TEST(PagedObjectsTest, ComputedRowsAreRightAndOneWrongByteIsSeen) {
  PagedObjects objects = Sample();
  objects.Draw(1, 5);
  EXPECT_EQ(objects.Mismatches(1), 2u * 70);
  objects.Compute(1);
  EXPECT_EQ(objects.Mismatches(1), 0u);
  objects.Row(1, 1, 69)[1151] ^= std::byte{1};
  EXPECT_EQ(objects.Mismatches(1), 1u);
  objects.Wipe();
  EXPECT_EQ(objects.Mismatches(1), 2u * 70);
}

TEST(PagedObjectsTest, AStoredRowHasItsRotaryPartBeforeRope) {
  PagedObjects objects = Sample();
  objects.Draw(0, 9);
  objects.Compute(0);
  const RowSource source = objects.Source(0);
  std::vector<std::byte> row(objects.Row(0, 1, 33), objects.Row(0, 1, 33) + 1152);
  EXPECT_FALSE(objects.IsStoredRow(0, 1, 33, row.data()));
  std::copy_n(source.pre_rope[1] + 33 * source.pre_rope_stride, 128, row.begin() + 1024);
  EXPECT_TRUE(objects.IsStoredRow(0, 1, 33, row.data()));
}

// What the description says is where the rows are.
TEST(PagedObjectsTest, TheDescriptionFitsTheRows) {
  const PagedObjects objects = Sample();
  const PagedCache cache = objects.Cache(2);
  ASSERT_EQ(cache.block_table.size(), 2u);
  for (uint32_t t = 0; t < 70; ++t) {
    const auto block = static_cast<uint64_t>(cache.block_table[t / 64]);
    EXPECT_LT(block, cache.num_blocks);
    EXPECT_EQ(cache.layer_base[1] + block * cache.block_stride + t % 64 * cache.row_stride,
              objects.Row(2, 1, t));
  }
}

TEST(PagedObjectsTest, OtherSeedsOtherTokens) {
  PagedObjects objects = Sample();
  objects.Draw(0, 1);
  objects.Draw(1, 2);
  EXPECT_EQ(objects.tokens(0).size(), 70u);
  EXPECT_NE(objects.tokens(0), objects.tokens(1));
  objects.Draw(1, 1);
  EXPECT_EQ(objects.tokens(0), objects.tokens(1));
}

}  // namespace
}  // namespace cistern::tools
