// How each kind of object is cut into blocks and layers.
#include "storage/object_shape.h"

#include <limits>

#include <gtest/gtest.h>

#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kBlobBlock = 4096;

class ObjectShapeTest : public testing::Test {
 protected:
  ObjectShapeTest() : spec_(TestModel("hybrid", 2, 64)) { spec_.state = TestState(); }
  ObjectShape Shape(const base::ObjectHeader& header) const {
    const auto shape = ShapeOf(header, &spec_, kBlobBlock);
    EXPECT_TRUE(shape.ok()) << shape.status();
    EXPECT_EQ(shape->LayerBytes(0, shape->layers), shape->payload_bytes);
    EXPECT_EQ(shape->payload_bytes, header.PayloadBytes(&spec_));
    return *shape;
  }

  base::ModelSpec spec_;
};

TEST_F(ObjectShapeTest, ASegmentHasPagesAndLayersOfRows) {
  const ObjectShape shape = Shape(TestSegment(spec_, 1, 0, 40));
  EXPECT_TRUE(shape.is_segment());
  EXPECT_EQ(shape.num_blocks(), 3u);
  EXPECT_EQ(shape.layers, 2u);
  EXPECT_EQ(shape.block_bytes, 16u * 2 * 64);
  EXPECT_EQ(shape.LayerBytes(1, 2), 40u * 64);
}

TEST_F(ObjectShapeTest, ABlobIsOneLayerOfManyBlocks) {
  const ObjectShape shape = Shape(TestBlob(1, 10'000));
  EXPECT_EQ(shape.num_blocks(), 3u);
  EXPECT_EQ(shape.layers, 1u);
  EXPECT_EQ(shape.block_bytes, kBlobBlock);
}

TEST_F(ObjectShapeTest, ACheckpointHasABlockForEachStateLayer) {
  const ObjectShape shape = Shape(TestCheckpoint(spec_, TestSegment(spec_, 1, 0, 40), 40));
  EXPECT_EQ(shape.num_blocks(), 3u);
  EXPECT_EQ(shape.layers, 3u);
  EXPECT_EQ(shape.block_bytes, 352u);
  EXPECT_EQ(shape.payload_bytes, 3u * 352);
  EXPECT_EQ(shape.LayerBytes(1, 3), 2u * 352);
}

TEST_F(ObjectShapeTest, ALogHasABlockForEachTokenAndItsTailsBehind) {
  const base::ObjectHeader state = TestCheckpoint(spec_, TestSegment(spec_, 1, 0, 40), 40);
  const ObjectShape at_end = Shape(TestLog(spec_, state, 5, 7));
  EXPECT_EQ(at_end.block_bytes, 120u);
  EXPECT_EQ(at_end.payload_bytes, 7u * 120 + 288);
  EXPECT_EQ(at_end.num_blocks(), 10u);
  EXPECT_EQ(at_end.layers, 10u);
  EXPECT_EQ(at_end.LayerBytes(9, 10), 48u) << "the last block is part full";
  const ObjectShape every = Shape(TestLog(spec_, state, 5, 7, base::LogTails::kEveryToken));
  EXPECT_EQ(every.block_bytes, 216u);
  EXPECT_EQ(every.num_blocks(), 7u);
  EXPECT_EQ(every.LayerBytes(6, 7), 216u);
}

TEST_F(ObjectShapeTest, AModelWithoutStateLayersHasNoState) {
  const base::ObjectHeader state = TestCheckpoint(spec_, TestSegment(spec_, 1, 0, 40), 40);
  spec_.state = {};
  for (const base::ObjectHeader& header : {state, TestLog(spec_, state, 5, 7)}) {
    const absl::Status status = ShapeOf(header, &spec_, kBlobBlock).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(status.message().find("no state layers"), std::string::npos) << status;
  }
}

// A convolution as wide as a spec may have it beside inputs of a few bytes.
TEST_F(ObjectShapeTest, MoreBlocksThanCanBeCountedAreTooMany) {
  spec_.state = {.family = base::StateFamily::kLightning,
                 .num_layers = 1024,
                 .num_heads = 1,
                 .num_key_heads = 1,
                 .key_dim = 1,
                 .value_dim = 1,
                 .conv_width = 64,
                 .conv_channels = 1 << 20};
  ASSERT_TRUE(spec_.state.Validate().ok()) << spec_.state.Validate();
  const ObjectShape shape = Shape(TestFirstLog(spec_, 1, 1));
  EXPECT_EQ(shape.num_blocks(), 1u + (1u << 25)) << "128 MiB of tails, 4 bytes a layer and token";
}

}  // namespace
}  // namespace cistern::storage
