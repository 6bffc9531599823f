#include "base/round.h"

#include "gtest/gtest.h"

namespace cistern::base {
namespace {

TEST(RoundUpTest, GivesTheNextMultiple) {
  EXPECT_EQ(RoundUp(0, 16), 0u);
  EXPECT_EQ(RoundUp(1, 16), 16u);
  EXPECT_EQ(RoundUp(16, 16), 16u);
  EXPECT_EQ(RoundUp(17, 3), 18u);
}

TEST(RoundUpToClassTest, ClassesHoldWhatWasAskedForAndLittleMore) {
  EXPECT_EQ(RoundUpToClass(0, 4096, 4), 4096u);
  EXPECT_EQ(RoundUpToClass(4096, 4096, 4), 4096u);
  EXPECT_EQ(RoundUpToClass(4097, 4096, 4), 5120u);
  EXPECT_EQ(RoundUpToClass(8192, 4096, 4), 8192u);
  for (uint64_t bytes = 1; bytes < 1u << 20; bytes = bytes * 5 / 4 + 1) {
    const uint64_t held = RoundUpToClass(bytes, 1, 4);
    EXPECT_GE(held, bytes);
    EXPECT_LE(held * 4, bytes * 5 + 4);
    EXPECT_EQ(RoundUpToClass(held, 1, 4), held);
  }
}

}  // namespace
}  // namespace cistern::base
