// Each way in which a description of rows can be wrong is named, before any byte moves.
#include "kernels/rows.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "test_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

class RowsTest : public ::testing::Test {
 protected:
  std::string RowsError(const SegmentRows& rows, const RowRange& range) {
    return Message(ValidateRows(rows, range));
  }
  std::string CacheError(const PagedCache& cache, const RowRange& range) {
    return Message(ValidateCache(cache, range, 1152));
  }
  static std::string Message(const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  }

  std::mt19937_64 random_{51};
  Shape shape_{.layers = 2,
               .page_rows = 16,
               .segment_tokens = 40,
               .first_token = 3,
               .num_tokens = 37,
               .cache_token = 11,
               .block_size = 16,
               .row_bytes = 1152,
               .row_stride = 1152,
               .block_stride = 16 * 1152};
  Memory memory_{shape_, random_};
  const SegmentRows rows_ = memory_.SegmentAs<SegmentRows>();
  const PagedCache cache_ = memory_.CacheAs<PagedCache>();
  const RowRange range_ = memory_.Range();
};

TEST_F(RowsTest, GoodDescriptionsPass) {
  EXPECT_TRUE(ValidateRows(rows_, range_).ok());
  EXPECT_TRUE(ValidateRows(memory_.SegmentAs<MutableSegmentRows>(), range_).ok());
  EXPECT_TRUE(ValidateCache(cache_, range_, 1152).ok());
  EXPECT_TRUE(ValidateCache(memory_.CacheAs<ConstPagedCache>(), range_, 1152).ok());
}

TEST_F(RowsTest, SegmentErrors) {
  const auto with = [&](auto change) {
    SegmentRows rows = rows_;
    change(rows);
    return RowsError(rows, range_);
  };
  EXPECT_THAT(with([](SegmentRows& r) { r.pages = nullptr; }), HasSubstr("pages is null"));
  EXPECT_THAT(with([](SegmentRows& r) { r.row_bytes = 0; }), HasSubstr("row_bytes is 0"));
  EXPECT_THAT(with([](SegmentRows& r) { r.row_bytes = 1 << 17; }), HasSubstr("row_bytes is"));
  EXPECT_THAT(with([](SegmentRows& r) { r.page_rows = 0; }), HasSubstr("page_rows is 0"));
  EXPECT_THAT(with([](SegmentRows& r) { r.page_rows = UINT32_MAX; }), HasSubstr("page_rows is"));
  EXPECT_THAT(with([](SegmentRows& r) { r.layer_stride = 16 * 1152 - 1; }),
              HasSubstr("layer_stride"));
  EXPECT_THAT(with([](SegmentRows& r) { r.layer_stride = UINT64_MAX; }), HasSubstr("layer_stride"));
  EXPECT_THAT(with([](SegmentRows& r) { r.num_layers = UINT32_MAX; }),
              HasSubstr("layers; at most"));
  EXPECT_THAT(with([](SegmentRows& r) { r.num_layers = 1; }), HasSubstr("outside the segment's"));
  EXPECT_THAT(with([](SegmentRows& r) { r.first_layer = 1; }), HasSubstr("outside the segment's"));
  EXPECT_THAT(with([](SegmentRows& r) { r.num_pages = 2; }), HasSubstr("2 pages of 16"));
  memory_.pages()[1] = nullptr;
  EXPECT_THAT(RowsError(rows_, range_), HasSubstr("segment page 1 is null"));
  // A page that the range does not touch may be missing.
  EXPECT_TRUE(ValidateRows(rows_, {.num_layers = 2, .first_token = 32, .num_tokens = 8}).ok());
}

TEST_F(RowsTest, RangeErrors) {
  EXPECT_THAT(RowsError(rows_, {.num_layers = 0, .num_tokens = 1}), HasSubstr("no layers"));
  EXPECT_THAT(RowsError(rows_, {.num_layers = 1, .num_tokens = 0}), HasSubstr("no tokens"));
  EXPECT_THAT(CacheError(cache_, {.num_layers = 0, .num_tokens = 1}), HasSubstr("no layers"));
  EXPECT_THAT(RowsError(rows_, {.num_layers = 1, .first_token = 48, .num_tokens = 1}),
              HasSubstr("outside"));
  // Sums that would wrap in 32 bits.
  EXPECT_THAT(RowsError(rows_, {.num_layers = 1, .first_token = UINT32_MAX, .num_tokens = 2}),
              HasSubstr("outside"));
  EXPECT_THAT(RowsError(rows_, {.first_layer = UINT32_MAX, .num_layers = 2, .num_tokens = 1}),
              HasSubstr("outside"));
  EXPECT_THAT(CacheError(cache_, {.first_layer = UINT32_MAX, .num_layers = 2, .num_tokens = 1}),
              HasSubstr("outside"));
  EXPECT_THAT(CacheError(cache_, {.num_layers = 1, .num_tokens = 2, .cache_token = UINT32_MAX}),
              HasSubstr("outside"));
}

TEST_F(RowsTest, CacheErrors) {
  const auto with = [&](auto change) {
    PagedCache cache = cache_;
    change(cache);
    return CacheError(cache, range_);
  };
  EXPECT_THAT(with([](PagedCache& c) { c.layers = nullptr; }), HasSubstr("layers is null"));
  EXPECT_THAT(with([](PagedCache& c) { c.block_table = nullptr; }),
              HasSubstr("block_table is null"));
  EXPECT_THAT(with([](PagedCache& c) { c.block_size = 0; }), HasSubstr("block_size is 0"));
  EXPECT_THAT(with([](PagedCache& c) { c.block_size = UINT32_MAX; }), HasSubstr("block_size is"));
  EXPECT_THAT(with([](PagedCache& c) { c.row_stride = 1151; }), HasSubstr("row_stride is 1151"));
  EXPECT_THAT(with([](PagedCache& c) { c.row_stride = UINT64_MAX; }), HasSubstr("row_stride"));
  EXPECT_THAT(with([](PagedCache& c) { c.block_stride = 16 * 1152 - 1; }),
              HasSubstr("block_stride is"));
  EXPECT_THAT(with([](PagedCache& c) { c.block_stride = UINT64_MAX; }), HasSubstr("overflows"));
  EXPECT_THAT(with([](PagedCache& c) { c.num_layers = 1; }), HasSubstr("outside the cache's 1"));
  EXPECT_THAT(with([](PagedCache& c) { c.table_blocks = 2; }), HasSubstr("2 blocks of 16"));
  EXPECT_THAT(with([](PagedCache& c) { c.num_blocks = 1; }), HasSubstr("the cache has 1 blocks"));
  const int32_t kept = memory_.table()[2];
  memory_.table()[2] = -1;
  EXPECT_THAT(CacheError(cache_, range_), HasSubstr("block_table[2] is -1"));
  // An entry that the range does not touch may be anything: engines leave them unset.
  EXPECT_TRUE(ValidateCache(cache_, {.num_layers = 2, .num_tokens = 32}, 1152).ok());
  memory_.table()[2] = kept;
  memory_.layers()[1] = nullptr;
  EXPECT_THAT(CacheError(cache_, range_), HasSubstr("cache layer 1 is null"));
}

}  // namespace
}  // namespace cistern::kernels
