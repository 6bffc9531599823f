// A unit out of the cache, piece by piece: after each piece what is said to be there is there.
#include "client_lib/src/unit_gather.h"

#include <algorithm>
#include <vector>

#include "tests/unit/client_lib/client_fixture.h"
#include "tools/bench/row_model.h"
#include "tools/bench/worker_cache.h"

namespace cistern::client {
namespace {

struct Case {
  std::vector<uint32_t> sizes;  // of segments, one after the other
  uint64_t unit_bytes;
  uint64_t memory_bytes = 1 << 30;  // that the payload goes through; no more than it has
};

void PrintTo(const Case& shape, std::ostream* out) {
  *out << shape.sizes.size() << " segments, units of " << shape.unit_bytes << ", memory of "
       << shape.memory_bytes;
}

class UnitGatherTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    uint32_t begin = 0;
    for (const uint32_t size : GetParam().sizes) {
      segments_.push_back({.begin = begin, .end = begin + size});
      begin += size;
    }
    tokens_ = cistern::testing::RandomTokens(begin, 1);
    segments_.back().encoding = base::RotaryEncoding::kRotated;
    worker_.Begin(tokens_);
    worker_.Compute({0, begin});
  }
  // What the payload is to be: for each layer, for each segment, its rows.
  std::vector<std::byte> Expected(const TransferUnit& unit) {
    std::vector<std::byte> all(unit.bytes());
    std::byte* at = all.data();
    for (uint32_t layer = unit.layer_begin; layer < unit.layer_end; ++layer) {
      for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
        const NewSegment& segment = segments_[i];
        for (uint32_t t = segment.begin; t < segment.end; ++t, at += spec_.row_bytes) {
          model_.WriteRow(tokens_[t], layer, t, at);
          if (segment.encoding == base::RotaryEncoding::kUnrotated)
            model_.WritePreRope(tokens_[t], layer, at + spec_.rotary_offset());
        }
      }
    }
    EXPECT_EQ(at, all.data() + all.size());
    return all;
  }

  const base::ModelSpec spec_ = cistern::testing::SmallModel();
  tools::RowModel model_{spec_};
  tools::WorkerCache worker_{spec_, 2048};
  cistern::testing::Tokens tokens_;
  std::vector<NewSegment> segments_;
};

INSTANTIATE_TEST_SUITE_P(Shapes, UnitGatherTest,
                         ::testing::Values(Case{{1}, 1 << 20}, Case{{300, 1, 17, 200}, 4 << 20},
                                           Case{{300, 1, 17, 200}, 1 << 20},
                                           Case{{300, 120, 512}, 200 << 10},
                                           Case{{300, 1, 17, 200}, 4 << 20, 100'000},
                                           Case{{300, 1, 17, 200}, 4 << 20, 1152},
                                           Case{{300, 120, 512}, 4 << 20, 512 << 10}));

TEST(TransferUnitsTest, TheFirstLayerMayGoAlone) {
  const uint32_t tokens[] = {100, 28};
  const UnitCut layerwise = {.unit_bytes = 128 * 1152 * 3, .first_layer_alone = true};
  std::vector<uint32_t> ends;
  for (const TransferUnit& unit : CutIntoUnits(tokens, 8, 1152, layerwise)) {
    EXPECT_EQ(unit.layer_begin, ends.empty() ? 0 : ends.back());
    EXPECT_EQ(unit.object_end - unit.object_begin, 2u);
    ends.push_back(unit.layer_end);
  }
  EXPECT_THAT(ends, ::testing::ElementsAre(1, 4, 7, 8));
  EXPECT_EQ(CutIntoUnits(tokens, 1, 1152, layerwise).size(), 1u);
  EXPECT_EQ(CutIntoUnits(tokens, 8, 1152, {.unit_bytes = 1 << 20})[0].layer_end, 7u);
}

TEST_P(UnitGatherTest, WhatIsSaidToBeThereIsThere) {
  const RowSource rows = worker_.Source(/*pre_rope=*/true);
  for (const TransferUnit& unit : CutIntoUnits(GetParam().sizes, spec_.num_layers, spec_.row_bytes,
                                               {.unit_bytes = GetParam().unit_bytes})) {
    const std::vector<std::byte> expected = Expected(unit);
    std::vector<std::byte> memory(std::min(unit.bytes(), GetParam().memory_bytes));
    UnitGather gather(spec_, rows, unit, memory);
    for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) gather.Add(segments_[i]);
    const std::vector<transport::Slice> slices = gather.Payload();
    EXPECT_EQ(transport::TotalBytes(slices), unit.bytes());
    EXPECT_EQ(gather.wraps(), slices.size() > 1);
    const uint64_t span = slices[0].size();
    for (int round = 0; round < 2; ++round, gather.Restart()) {
      uint64_t taken = 0;
      while (!gather.done()) {
        const uint64_t before = gather.filled();
        if (!gather.HasRoom(taken)) {
          ASSERT_LT(taken, before);
          taken = std::min(before, taken + 1152 * 7);
          continue;
        }
        ASSERT_TRUE(gather.Next().ok());
        ASSERT_GT(gather.filled(), before);
        ASSERT_LE(gather.filled() - before, UnitGather::kPieceBytes);
        for (uint64_t at = taken; at < gather.filled(); ++at)
          ASSERT_EQ(slices[at / span][at % span], expected[at]) << at << " after " << taken;
        if (!gather.wraps()) taken = gather.filled();
      }
      EXPECT_EQ(gather.filled(), unit.bytes());
    }
  }
}

TEST_P(UnitGatherTest, RowsThatAreNotThereAreAnError) {
  RowSource rows = worker_.Source(/*pre_rope=*/true);
  rows.cache.num_blocks = 0;
  const TransferUnit unit = CutIntoUnits(GetParam().sizes, spec_.num_layers, spec_.row_bytes,
                                         {.unit_bytes = GetParam().unit_bytes})[0];
  std::vector<std::byte> payload(unit.bytes());
  UnitGather gather(spec_, rows, unit, payload);
  gather.Add(segments_[0]);
  EXPECT_TRUE(absl::IsInvalidArgument(gather.Next()));
  EXPECT_EQ(gather.filled(), 0u);
}

}  // namespace
}  // namespace cistern::client
