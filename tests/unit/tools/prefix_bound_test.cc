// The bound of a prefix cache that can resume anywhere.
#include "tools/bench/prefix_bound.h"

#include <vector>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

using Tokens = std::vector<base::TokenId>;

TEST(PrefixBoundTest, LongestKnownBeginning) {
  PrefixBound bound;
  EXPECT_EQ(bound.Add(Tokens{1, 2, 3, 4, 5}, 3), 0u);
  EXPECT_EQ(bound.Add(Tokens{1, 2, 3, 4, 5, 6, 7}, 6), 5u);  // the output was part of it
  EXPECT_EQ(bound.Add(Tokens{1, 2, 3, 9, 9}, 5), 3u);
  EXPECT_EQ(bound.Add(Tokens{2, 3, 4}, 3), 0u);  // not the beginning
  EXPECT_EQ(bound.Add(Tokens{1, 2, 3, 9, 5, 6}, 6), 4u);
}

TEST(PrefixBoundTest, TheLastTokenOfAPromptIsComputed) {
  PrefixBound bound;
  bound.Add(Tokens{1, 2, 3}, 3);
  EXPECT_EQ(bound.Add(Tokens{1, 2, 3}, 3), 2u);
  EXPECT_EQ(bound.Add(Tokens{1, 2, 3}, 2), 1u);
  EXPECT_EQ(bound.Add(Tokens{1}, 1), 0u);
  EXPECT_EQ(bound.Add(Tokens{}, 0), 0u);
}

}  // namespace
}  // namespace cistern::tools
