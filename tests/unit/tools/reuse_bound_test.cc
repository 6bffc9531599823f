#include "tools/bench/reuse_bound.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

using Tokens = std::vector<base::TokenId>;

// The definition, slowly: every token inside any run of 32 that an earlier prompt had.
class SlowBound {
 public:
  uint64_t Add(const Tokens& prompt) {
    std::vector<bool> covered(prompt.size(), false);
    std::vector<Tokens> runs;
    for (size_t i = 0; i + ReuseBound::kRun <= prompt.size(); ++i) {
      runs.emplace_back(prompt.begin() + i, prompt.begin() + i + ReuseBound::kRun);
      if (seen_.contains(runs.back())) std::fill_n(covered.begin() + i, ReuseBound::kRun, true);
    }
    seen_.insert(runs.begin(), runs.end());
    return std::count(covered.begin(), covered.end(), true);
  }

 private:
  std::set<Tokens> seen_;
};

TEST(ReuseBoundTest, NothingIsCoveredTheFirstTimeAndAllTheSecond) {
  Tokens prompt(100);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<base::TokenId>(i);
  ReuseBound bound;
  EXPECT_EQ(bound.Add(prompt), 0u);
  EXPECT_EQ(bound.Add(prompt), 100u);
}

TEST(ReuseBoundTest, RunsShorterThan32DoNotCount) {
  ReuseBound bound;
  const Tokens shorter(31, 5);
  bound.Add(shorter);
  EXPECT_EQ(bound.Add(shorter), 0u);
}

// Random prompts spliced from a small stock, compared with the slow definition.
TEST(ReuseBoundTest, EqualsTheDefinition) {
  std::mt19937 random(3);
  std::vector<Tokens> stock;
  for (int i = 0; i < 6; ++i) {
    Tokens piece(10 + random() % 60);
    for (auto& token : piece) token = random() % 50000;
    stock.push_back(piece);
  }
  ReuseBound fast;
  SlowBound slow;
  uint64_t total = 0;
  for (int call = 0; call < 40; ++call) {
    Tokens prompt(random() % 20, static_cast<base::TokenId>(call));
    for (int i = 0; i < 5; ++i) {
      const Tokens& piece = stock[random() % stock.size()];
      prompt.insert(prompt.end(), piece.begin(), piece.end());
    }
    const uint64_t covered = fast.Add(prompt);
    EXPECT_EQ(covered, slow.Add(prompt)) << "call " << call;
    total += covered;
  }
  EXPECT_GT(total, 0u);
}

}  // namespace
}  // namespace cistern::tools
