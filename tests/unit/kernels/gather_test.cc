// Gather: back from a paged cache what scatter put there, with k_r from a side buffer if asked, and
// each call that must be refused.
#include "kernels/gather/gather.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "kernels/scatter/scatter.h"
#include "test_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

GatherParams Params(const Memory& memory) {
  return {.cache = memory.CacheAs<ConstPagedCache>(),
          .target = memory.SegmentAs<MutableSegmentRows>(),
          .range = memory.Range()};
}

// A side buffer that covers more than the range, with odd strides.
struct SideBuffer {
  SideBuffer(const Shape& shape, uint32_t k_r_bytes, std::mt19937_64& random) {
    source.first_token = shape.cache_token - std::min(shape.cache_token, Pick(0, 3, random));
    source.num_tokens =
        shape.cache_token - source.first_token + shape.num_tokens + Pick(0, 3, random);
    source.num_layers = shape.layers;
    source.bytes = k_r_bytes;
    source.token_stride = k_r_bytes + Pick(0, 1, random) * 6;
    source.layer_stride = source.token_stride * source.num_tokens + Pick(0, 1, random) * 10;
    bytes = RandomBytes(source.layer_stride * shape.layers, random);
    source.rows = bytes.data();
  }
  RotarySource source;
  std::vector<std::byte> bytes;
};

TEST(Gather, FastFormsEqualTheReference) {
  ForEachTarget([] {
    std::mt19937_64 random(41);
    for (int round = 0; round < 80; ++round) {
      const uint32_t sizes[] = {1152, 656, Pick(130, 900, random)};
      const Shape shape = RandomShape(sizes[round % 3], kBlockSizes[Pick(0, 4, random)], random);
      Memory memory(shape, random);
      const SideBuffer side(shape, 128, random);
      GatherParams params = Params(memory);
      if (round % 2) params.k_r = side.source;
      params.rotary_offset =
          round % 4 == 1 ? shape.row_bytes - 128 : Pick(0, shape.row_bytes - 128, random);
      const std::vector<std::byte> before = memory.segment();
      ASSERT_TRUE(ValidateGather(params).ok()) << ValidateGather(params);
      GatherRef(params);
      const std::vector<std::byte> expected = memory.segment();
      ASSERT_TRUE(expected != before);
      for (StoreHint hint : kHints) {
        std::copy(before.begin(), before.end(), memory.segment().begin());
        params.stores = hint;
        ASSERT_TRUE(Gather(params).ok());
        ASSERT_TRUE(memory.segment() == expected)
            << "round " << round << " hint " << static_cast<int>(hint);
      }
    }
  });
}

TEST(Gather, BringsBackWhatScatterPut) {
  std::mt19937_64 random(42);
  for (uint32_t block_size : kBlockSizes) {
    const Shape shape = RandomShape(1152, block_size, random);
    Memory memory(shape, random);
    const std::vector<std::byte> segment = memory.segment();
    const ScatterParams put{.source = memory.SegmentAs<SegmentRows>(),
                            .cache = memory.CacheAs<PagedCache>(),
                            .range = memory.Range()};
    ASSERT_TRUE(Scatter(put).ok());
    const GatherParams get = Params(memory);
    for (uint32_t layer = shape.first_layer; layer < shape.layers; ++layer) {
      for (uint32_t i = 0; i < shape.num_tokens; ++i) {
        std::memset(get.target.Row(layer, shape.first_token + i), 0x55, 1152);
      }
    }
    ASSERT_TRUE(memory.segment() != segment);
    ASSERT_TRUE(Gather(get).ok());
    EXPECT_TRUE(memory.segment() == segment) << "blocks of " << block_size;
  }
}

// What a worker publishes as `unrotated`: c_KV from the cache, k_r as it was before RoPE.
TEST(Gather, TakesRotaryKeysFromTheSideBuffer) {
  std::mt19937_64 random(43);
  Shape shape{.layers = 2,
              .page_rows = 16,
              .segment_tokens = 20,
              .num_tokens = 20,
              .cache_token = 5,
              .block_size = 16,
              .row_bytes = 1152,
              .row_stride = 1152,
              .block_stride = 16 * 1152};
  Memory memory(shape, random);
  const SideBuffer side(shape, 128, random);
  GatherParams params = Params(memory);
  params.k_r = side.source;
  params.rotary_offset = 1024;
  ASSERT_TRUE(Gather(params).ok());
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (uint32_t i = 0; i < 20; ++i) {
      const std::byte* row = params.target.Row(layer, i);
      const std::byte* k_r = side.bytes.data() + layer * side.source.layer_stride +
                             (5 + i - side.source.first_token) * side.source.token_stride;
      EXPECT_EQ(std::memcmp(row, params.cache.Row(layer, 5 + i), 1024), 0);
      EXPECT_EQ(std::memcmp(row + 1024, k_r, 128), 0);
    }
  }
}

TEST(Gather, RefusesBadCalls) {
  std::mt19937_64 random(44);
  Shape shape{.layers = 2,
              .page_rows = 16,
              .segment_tokens = 20,
              .num_tokens = 20,
              .cache_token = 5,
              .block_size = 16,
              .row_bytes = 1152,
              .row_stride = 1152,
              .block_stride = 16 * 1152};
  Memory memory(shape, random);
  const std::vector<std::byte> before = memory.segment();
  std::vector<std::byte> buffer(2 * 20 * 128);
  GatherParams good = Params(memory);
  good.rotary_offset = 1024;
  good.k_r = {.rows = buffer.data(),
              .num_layers = 2,
              .first_token = 5,
              .num_tokens = 20,
              .layer_stride = 20 * 128,
              .token_stride = 128};
  ASSERT_TRUE(ValidateGather(good).ok());
  const auto error = [&](auto change) {
    GatherParams bad = good;
    change(bad);
    const absl::Status status = Gather(bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error([](GatherParams& p) { p.target.pages = nullptr; }), HasSubstr("pages is null"));
  EXPECT_THAT(error([](GatherParams& p) { p.cache.layers = nullptr; }),
              HasSubstr("layers is null"));
  EXPECT_THAT(error([](GatherParams& p) { p.rotary_offset = 1025; }),
              HasSubstr("does not fit a row"));
  EXPECT_THAT(error([](GatherParams& p) { p.rotary_offset = UINT32_MAX; }),
              HasSubstr("does not fit a row"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.bytes = 0; }), HasSubstr("does not fit a row"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.num_layers = 1; }),
              HasSubstr("outside the k_r buffer"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.first_layer = 1; }),
              HasSubstr("outside the k_r buffer"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.first_token = 6; }),
              HasSubstr("outside the k_r buffer"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.num_tokens = 19; }),
              HasSubstr("outside the k_r buffer"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.token_stride = 127; }), HasSubstr("strides"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.layer_stride = 127; }), HasSubstr("strides"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.layer_stride = UINT64_MAX; }),
              HasSubstr("strides"));
  EXPECT_THAT(error([](GatherParams& p) { p.k_r.token_stride = UINT64_MAX; }),
              HasSubstr("strides"));
  EXPECT_TRUE(memory.segment() == before);
}

}  // namespace
}  // namespace cistern::kernels
