// Payloads in the order that messages and records name: against a plain byte-by-byte copy.
#include "cacheserver/layout.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"

#include "cacheserver/service/layer_range.h"

namespace cistern::cacheserver {
namespace {

using Bytes = std::vector<std::byte>;

constexpr ObjectShape kShape{.layers = 3,
                             .layer_bytes = 21 * 8,
                             .tokens = 21,
                             .row_bytes = 8,
                             .block_bytes = 3 * 16 * 8,
                             .payload_bytes = 3 * 21 * 8};

Bytes Gather(const std::vector<transport::MutableSlice>& slices) {
  Bytes bytes;
  for (const auto& slice : slices) bytes.insert(bytes.end(), slice.begin(), slice.end());
  return bytes;
}

// Two pages in the wrong order in memory; row (layer, token) is filled with one value.
class LayoutTest : public testing::Test {
 protected:
  LayoutTest() : arena_(2 * kShape.block_bytes, std::byte{0xee}) {
    for (uint32_t layer = 0; layer < 3; ++layer) {
      for (uint32_t token = 0; token < 21; ++token) {
        const uint64_t page = blocks_[token / 16].offset;
        std::memset(arena_.data() + page + (layer * 16 + token % 16) * 8, Value(layer, token), 8);
      }
    }
  }
  static int Value(uint32_t layer, uint32_t token) { return static_cast<int>(layer * 50 + token); }
  static Bytes Row(uint32_t layer, uint32_t token) {
    return Bytes(8, static_cast<std::byte>(Value(layer, token)));
  }

  const std::vector<base::BlockRef> blocks_ = {{.offset = kShape.block_bytes}, {.offset = 0}};
  Bytes arena_;
};

TEST_F(LayoutTest, OneLayerIsAllItsRowsInTokenOrder) {
  std::vector<transport::MutableSlice> slices;
  AppendLayer(arena_.data(), kShape, blocks_, 1, &slices);
  Bytes expected;
  for (uint32_t token = 0; token < 21; ++token) {
    const Bytes row = Row(1, token);
    expected.insert(expected.end(), row.begin(), row.end());
  }
  EXPECT_EQ(Gather(slices), expected);
}

TEST_F(LayoutTest, ARecordIsItsPagesWithoutWhatIsNotInUse) {
  Bytes expected;
  for (uint32_t page = 0; page < 2; ++page) {
    for (uint32_t layer = 0; layer < 3; ++layer) {
      for (uint32_t token = page * 16; token < std::min(21u, page * 16 + 16); ++token) {
        const Bytes row = Row(layer, token);
        expected.insert(expected.end(), row.begin(), row.end());
      }
    }
  }
  EXPECT_EQ(Gather(RecordSlices(arena_.data(), kShape, blocks_)), expected);
  EXPECT_EQ(expected.size(), 21u * 3 * 8);
}

TEST_F(LayoutTest, ABlobEndsInItsLastBlock) {
  const ObjectShape blob{
      .layer_bytes = 500, .block_bytes = kShape.block_bytes, .payload_bytes = 500};
  const auto slices = RecordSlices(arena_.data(), blob, blocks_);
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[0].size(), 384u);
  EXPECT_EQ(slices[0].data(), arena_.data() + 384);
  EXPECT_EQ(slices[1].size(), 116u);
}

// A log of three blocks of 200 bytes, of which the last has 70.
TEST_F(LayoutTest, EachBlockOfAStateIsALayer) {
  const ObjectShape log{.layers = 3, .layer_bytes = 200, .block_bytes = 200, .payload_bytes = 470};
  const std::vector<base::BlockRef> blocks = {{.offset = 400}, {.offset = 0}, {.offset = 200}};
  const std::vector<PlacedObject> objects = {{log, blocks}};
  EXPECT_TRUE(CheckLayerRange({0, 3}, objects).ok());
  EXPECT_FALSE(CheckLayerRange({0, 4}, objects).ok());
  const auto some = PayloadSlices(arena_.data(), objects, {1, 3});
  ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ(some[0].data(), arena_.data());
  EXPECT_EQ(some[0].size(), 200u);
  EXPECT_EQ(some[1].data(), arena_.data() + 200);
  EXPECT_EQ(some[1].size(), 70u);
  EXPECT_EQ(PayloadBytes({1, 3}, objects), 270u);
  const auto whole = RecordSlices(arena_.data(), log, blocks);
  EXPECT_EQ(transport::TotalBytes(whole), 470u);
  EXPECT_EQ(whole[0].data(), arena_.data() + 400);
}

// A log may have a million blocks, each of them one piece.
TEST_F(LayoutTest, ALayerOfAStateIsOnePiece) {
  constexpr uint32_t kBlocks = 1 << 20;
  const ObjectShape log{.layers = kBlocks,
                        .layer_bytes = 8,
                        .block_bytes = 8,
                        .payload_bytes = uint64_t{kBlocks} * 8};
  const std::vector<base::BlockRef> many(kBlocks, base::BlockRef{});
  EXPECT_TRUE(CheckLayerRange({0, kBlocks}, {{log, many}}).ok());
}

TEST_F(LayoutTest, LayersComeBeforeObjects) {
  const std::vector<PlacedObject> objects = {{kShape, blocks_}, {kShape, {blocks_[1], blocks_[0]}}};
  const auto slices = PayloadSlices(arena_.data(), objects, {1, 3});
  ASSERT_EQ(slices.size(), 8u);
  EXPECT_EQ(transport::TotalBytes(slices), PayloadBytes({1, 3}, objects));
  EXPECT_EQ(slices[0].data(), arena_.data() + 384 + 128);  // layer 1, first object, first page
  EXPECT_EQ(slices[2].data(), arena_.data() + 128);        // layer 1, second object, first page
  EXPECT_EQ(slices[4].data(), arena_.data() + 384 + 256);  // layer 2
}

TEST_F(LayoutTest, RangesThatAreNoneAreRefused) {
  const std::vector<PlacedObject> objects = {{kShape, blocks_}};
  EXPECT_TRUE(CheckLayerRange({0, 3}, objects).ok());
  EXPECT_FALSE(CheckLayerRange({0, 4}, objects).ok());
  EXPECT_FALSE(CheckLayerRange({2, 2}, objects).ok());
  EXPECT_FALSE(CheckLayerRange({3, 1}, objects).ok());
  EXPECT_FALSE(CheckLayerRange({0, 1}, {}).ok());
  ObjectShape deep = kShape;
  deep.layers = 1000;
  const std::vector<base::BlockRef> many(2000, base::BlockRef{});
  EXPECT_EQ(CheckLayerRange({0, 1000}, {{deep, many}}).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cistern::cacheserver
