// Scatter: the reference against its description, the fast forms against the reference over random
// shapes, and each call that must be refused.
#include "kernels/scatter/scatter.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "kernels/rotary/rotate.h"
#include "test_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

struct Layout {
  uint32_t row_bytes, rotary_offset;
};
constexpr Layout kBf16{1152, 1024};
constexpr Layout kFp8{656, 528};

ScatterParams Params(const Memory& memory, const Layout& layout, const Turns* turns) {
  return {.source = memory.SegmentAs<SegmentRows>(),
          .cache = memory.CacheAs<PagedCache>(),
          .range = memory.Range(),
          .rotary_offset = layout.rotary_offset,
          .turns = turns};
}

Turns RandomTurns(const RotaryTable& table, const RowRange& range, std::mt19937_64& random) {
  const uint32_t base = Pick(0, 5000, random), position = Pick(0, 5000, random);
  switch (Pick(0, 3, random)) {
    case 0:
      return Turns();
    case 1:
      return *Turns::Place(table, position, range.num_tokens);
    case 2:
      return *Turns::ShiftIdeal(table.spec(), int64_t{position} - base);
    default:
      return *Turns::ShiftTable(table, base, table, position, range.num_tokens);
  }
}

// Every row of the range lies where the block table says, turned as its token says; everything else
// is as before.
TEST(Scatter, ReferencePutsEachRowInItsSlot) {
  std::mt19937_64 random(31);
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kFp32Table);
  for (const Layout& layout : {kBf16, kFp8}) {
    Shape shape{.layers = 3,
                .first_layer = 1,
                .page_rows = 16,
                .segment_tokens = 40,
                .first_token = 13,
                .num_tokens = 22,
                .cache_token = 9,
                .block_size = 16,
                .row_bytes = layout.row_bytes,
                .row_stride = layout.row_bytes,
                .block_stride = 16 * layout.row_bytes};
    Memory memory(shape, random);
    const Turns turns = *Turns::Place(*table, 9, 22);
    std::vector<std::byte> expected = memory.cache();
    const ptrdiff_t base = memory.layers()[0] - memory.cache().data();
    const size_t layer_bytes = memory.layers()[1] - memory.layers()[0];
    for (uint32_t layer = 1; layer < 3; ++layer) {
      for (uint32_t i = 0; i < 22; ++i) {
        const uint32_t from = 13 + i, to = 9 + i;
        const std::byte* row =
            memory.pages()[from / 16] + size_t{layer * 16 + from % 16} * layout.row_bytes;
        std::byte* slot = expected.data() + base + layer * layer_bytes +
                          size_t{memory.table()[to / 16] * 16u + to % 16} * layout.row_bytes;
        std::memcpy(slot, row, layout.row_bytes);
        const Turns one = *Turns::Place(*table, to, 1);
        RotateRef({.in = row + layout.rotary_offset,
                   .in_stride = 128,
                   .out = slot + layout.rotary_offset,
                   .out_stride = 128,
                   .num_rows = 1,
                   .turns = &one});
      }
    }
    ScatterRef(Params(memory, layout, &turns));
    EXPECT_TRUE(memory.cache() == expected);
  }
}

TEST(Scatter, FastFormsEqualTheReference) {
  ForEachTarget([] {
    std::mt19937_64 random(32);
    for (int round = 0; round < 80; ++round) {
      base::RotarySpec spec = round % 2 ? YarnRotary() : ScaledRotary();
      spec.style = round % 4 < 2 ? base::RotaryStyle::kInterleaved : base::RotaryStyle::kHalf;
      const auto table = MakeTable(spec, kArithmetics[round % 3]);
      const Layout& layout = round % 5 ? kBf16 : kFp8;
      const Shape shape = RandomShape(layout.row_bytes, kBlockSizes[Pick(0, 4, random)], random);
      Memory memory(shape, random);
      const std::vector<std::byte> before = memory.cache();
      const Turns turns = RandomTurns(*table, memory.Range(), random);
      ScatterParams params = Params(memory, layout, &turns);
      ASSERT_TRUE(ValidateScatter(params).ok()) << ValidateScatter(params);
      ScatterRef(params);
      const std::vector<std::byte> expected = memory.cache();
      for (StoreHint hint : kHints) {
        std::copy(before.begin(), before.end(), memory.cache().begin());
        params.stores = hint;
        ASSERT_TRUE(Scatter(params).ok());
        ASSERT_TRUE(memory.cache() == expected)
            << "round " << round << " hint " << static_cast<int>(hint);
      }
    }
  });
}

// Opaque rows of any size, any alignment: copied, never turned.
TEST(Scatter, OpaqueRowsAreCopied) {
  ForEachTarget([] {
    std::mt19937_64 random(33);
    for (int round = 0; round < 60; ++round) {
      const Shape shape = RandomShape(Pick(1, 700, random), kBlockSizes[round % 5], random);
      Memory memory(shape, random);
      const std::vector<std::byte> before = memory.cache();
      ScatterParams params =
          Params(memory, {.row_bytes = shape.row_bytes, .rotary_offset = shape.row_bytes}, nullptr);
      ScatterRef(params);
      const std::vector<std::byte> expected = memory.cache();
      std::copy(before.begin(), before.end(), memory.cache().begin());
      params.stores = kHints[round % 3];
      ASSERT_TRUE(Scatter(params).ok());
      ASSERT_TRUE(memory.cache() == expected) << "row " << shape.row_bytes;
    }
  });
}

// Only the last 128 of an fp8_ds_mla row turn: c_KV and its scales come out as they went in.
TEST(Scatter, Fp8RowsKeepTheirFirst528Bytes) {
  std::mt19937_64 random(34);
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kBf16Table);
  Shape shape{.layers = 2,
              .page_rows = 16,
              .segment_tokens = 20,
              .num_tokens = 20,
              .block_size = 64,
              .row_bytes = 656,
              .row_stride = 656,
              .block_stride = 64 * 656};
  Memory memory(shape, random);
  const Turns turns = *Turns::Place(*table, 1234, 20);
  const ScatterParams params = Params(memory, kFp8, &turns);
  ASSERT_TRUE(Scatter(params).ok());
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (uint32_t i = 0; i < 20; ++i) {
      const std::byte* row = params.source.Row(layer, i);
      const std::byte* slot = params.cache.Row(layer, i);
      EXPECT_EQ(std::memcmp(row, slot, 528), 0);
      EXPECT_NE(std::memcmp(row + 528, slot + 528, 128), 0);
    }
  }
}

// A fetcher may bring a segment in pieces: layer by layer, in token ranges, from a dense one-layer
// staging buffer.
TEST(Scatter, PiecesMakeTheWhole) {
  std::mt19937_64 random(35);
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kFp32Table);
  Shape shape{.layers = 3,
              .page_rows = 16,
              .segment_tokens = 50,
              .num_tokens = 50,
              .cache_token = 21,
              .block_size = 16,
              .row_bytes = 1152,
              .row_stride = 1152,
              .block_stride = 16 * 1152};
  Memory memory(shape, random);
  const Turns turns = *Turns::Place(*table, 21, 50);
  const ScatterParams whole = Params(memory, kBf16, &turns);
  const std::vector<std::byte> before = memory.cache();
  ASSERT_TRUE(Scatter(whole).ok());
  const std::vector<std::byte> expected = memory.cache();

  std::copy(before.begin(), before.end(), memory.cache().begin());
  for (uint32_t layer = 0; layer < 3; ++layer) {
    for (uint32_t first : {0u, 7u, 33u}) {
      const uint32_t end = first == 0 ? 7 : first == 7 ? 33 : 50;
      const Turns part_turns = *Turns::Place(*table, 21 + first, end - first);
      ScatterParams part = whole;
      part.turns = &part_turns;
      part.range = {.first_layer = layer,
                    .num_layers = 1,
                    .first_token = first,
                    .num_tokens = end - first,
                    .cache_token = 21 + first};
      ASSERT_TRUE(Scatter(part).ok());
    }
  }
  EXPECT_TRUE(memory.cache() == expected);

  std::copy(before.begin(), before.end(), memory.cache().begin());
  for (uint32_t layer = 0; layer < 3; ++layer) {
    std::vector<std::byte> staging;  // [50][1152] of this layer alone
    for (uint32_t i = 0; i < 50; ++i) {
      const std::byte* row = whole.source.Row(layer, i);
      staging.insert(staging.end(), row, row + 1152);
    }
    const std::byte* page = staging.data();
    ScatterParams dense = whole;
    dense.source = {.pages = &page,
                    .num_pages = 1,
                    .page_rows = 50,
                    .first_layer = layer,
                    .num_layers = 1,
                    .row_bytes = 1152};
    dense.range = {.first_layer = layer, .num_layers = 1, .num_tokens = 50, .cache_token = 21};
    ASSERT_TRUE(Scatter(dense).ok());
  }
  EXPECT_TRUE(memory.cache() == expected);
}

TEST(Scatter, RefusesTurnsThatDoNotFit) {
  std::mt19937_64 random(36);
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kFp32Table);
  Shape shape{.layers = 1,
              .page_rows = 16,
              .segment_tokens = 16,
              .num_tokens = 16,
              .block_size = 16,
              .row_bytes = 1152,
              .row_stride = 1152,
              .block_stride = 16 * 1152};
  Memory memory(shape, random);
  const std::vector<std::byte> before = memory.cache();
  const Turns short_turns = *Turns::Place(*table, 0, 15);
  const Turns turns = *Turns::Place(*table, 0, 16);
  ScatterParams params = Params(memory, kBf16, &short_turns);
  EXPECT_THAT(std::string(Scatter(params).message()), HasSubstr("16 tokens, turns for 15"));
  params.turns = &turns;
  params.rotary_offset = 1025;
  EXPECT_THAT(std::string(Scatter(params).message()), HasSubstr("k_r ends at byte 1153"));
  params.rotary_offset = UINT32_MAX;
  EXPECT_EQ(Scatter(params).code(), absl::StatusCode::kInvalidArgument);
  params = Params(memory, kBf16, &turns);
  params.source.pages = nullptr;
  EXPECT_EQ(Scatter(params).code(), absl::StatusCode::kInvalidArgument);
  params = Params(memory, kBf16, &turns);
  params.cache.block_table = nullptr;
  EXPECT_EQ(Scatter(params).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(memory.cache() == before);
}

}  // namespace
}  // namespace cistern::kernels
