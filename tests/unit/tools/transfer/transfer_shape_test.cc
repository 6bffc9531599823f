// Sizes and paths as people write them.
#include "tools/bench/transfer/transfer_shape.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TransferShapeTest, ASizeIsMetWithinHalfAToken) {
  for (const char* word : {"4KiB", "64KiB", "1MiB", "4MiB", "16MiB", "64MiB", "1152", "256MiB"}) {
    const auto shape = ParseTransferShape(word);
    ASSERT_TRUE(shape.ok()) << word;
    const auto shapes = ParseTransferShapes(word);
    ASSERT_TRUE(shapes.ok() && shapes->size() == 1);
    EXPECT_EQ(shape->name, word);
    EXPECT_GT(shape->tokens, 0u);
    EXPECT_EQ(shape->bytes() % 1152, 0u);
  }
  const auto mebibyte = ParseTransferShape("1MiB");
  ASSERT_TRUE(mebibyte.ok());
  EXPECT_NEAR(static_cast<double>(mebibyte->bytes()), 1048576.0,
              static_cast<double>(mebibyte->model.token_bytes()) / 2);
}

TEST(TransferShapeTest, AModelIsASegmentOfAllItsLayers) {
  const auto shapes = ParseTransferShapes("deepseek-v2-lite, deepseek-v3");
  ASSERT_TRUE(shapes.ok());
  ASSERT_EQ(shapes->size(), 2u);
  EXPECT_EQ(shapes->at(0).bytes(), 128ull * 27 * 1152);
  EXPECT_EQ(shapes->at(1).bytes(), 128ull * 61 * 1152);
  EXPECT_EQ(shapes->at(1).name, "deepseek-v3 segment");
}

TEST(TransferShapeTest, WrongSizesSayWhatWouldDo) {
  const auto why = [](const char* words) {
    const auto shapes = ParseTransferShapes(words);
    EXPECT_EQ(shapes.status().code(), absl::StatusCode::kInvalidArgument) << words;
    return std::string(shapes.status().message());
  };
  EXPECT_THAT(why("big"), HasSubstr("'big': a size (64KiB) or a model (deepseek-v2-lite"));
  EXPECT_THAT(why("1MiB,100"), HasSubstr("'100': from 1152 (a row) to 256 MiB"));
  EXPECT_THAT(why("1GiB"), HasSubstr("256 MiB"));
  EXPECT_THAT(why(""), HasSubstr("--sizes names none"));
  EXPECT_THAT(why(" , "), HasSubstr("--sizes names none"));
}

TEST(TransferPathsTest, EachOnceInTheirOwnOrder) {
  const auto paths = ParseTransferPaths("lookup, fetch,inplace,fetch");
  ASSERT_TRUE(paths.ok());
  EXPECT_THAT(*paths, ElementsAre("inplace", "fetch", "lookup"));
}

TEST(TransferPathsTest, AnUnknownOneIsNamed) {
  EXPECT_THAT(std::string(ParseTransferPaths("fetch,rdma").status().message()),
              HasSubstr("--paths 'rdma'; there are: inplace, fetch"));
  EXPECT_THAT(std::string(ParseTransferPaths("").status().message()),
              HasSubstr("--paths names none"));
}

}  // namespace
}  // namespace cistern::tools
