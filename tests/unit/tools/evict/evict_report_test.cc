#include "tools/bench/evict/evict_report.h"

#include <map>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/model_presets.h"
#include "storage/policy/eviction_policy.h"
#include "storage/policy/marconi_policy.h"

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;

class EvictReportTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    runs_ = CompareEviction(SyntheticBlockTrace(), *base::ModelPreset("deepseek-v3"));
  }

  static inline std::vector<EvictRun> runs_;
};

TEST_F(EvictReportTest, EveryPolicyAtEverySizeAndNoneAboveTheBound) {
  ASSERT_EQ(runs_.size(), 16u);
  std::map<std::string, double> last;
  for (const EvictRun& run : runs_) {
    EXPECT_LE(run.replay.hit_blocks, run.belady.hit_blocks) << run.policy;
    EXPECT_EQ(run.replay.blocks, run.belady.blocks);
    EXPECT_DOUBLE_EQ(run.replay.cost, run.belady.cost);
    EXPECT_GT(run.replay.hit_ratio(), last[run.policy]) << run.policy << " gains from memory";
    last[run.policy] = run.replay.hit_ratio();
  }
}

// On this trace recency says almost everything; where it does not, value gains far more.
TEST_F(EvictReportTest, ValueSavesTheMostCostOrHalfAPerCentLess) {
  for (size_t i = 0; i < runs_.size(); i += 4) {
    const EvictRun& value = runs_.at(i);
    ASSERT_EQ(value.policy, "value");
    for (size_t k = i + 1; k < i + 4; ++k) {
      EXPECT_GE(value.replay.saved_cost, 0.995 * runs_.at(k).replay.saved_cost)
          << runs_.at(k).policy << " at " << value.fraction;
      EXPECT_GE(value.replay.hit_ratio(), 0.9 * runs_.at(k).replay.hit_ratio())
          << runs_.at(k).policy << " at " << value.fraction;
    }
  }
}

TEST_F(EvictReportTest, MarconiRunsWithItsBestAlpha) {
  const BlockTrace trace = SyntheticBlockTrace();
  const base::ModelSpec model = *base::ModelPreset("deepseek-v3");
  const EvictRun& marconi = runs_.at(3);
  ASSERT_EQ(marconi.policy, "marconi");
  bool found = false;
  for (const double alpha : {0.0, 0.1, 0.2, 0.5, 1.0, 2.0}) {
    storage::KeyedPolicy policy(std::make_unique<storage::MarconiPolicy>(alpha));
    const BlockReplay replay = ReplayBlocks(trace, model, marconi.capacity, policy);
    EXPECT_LE(replay.saved_cost, marconi.replay.saved_cost);
    found = found || (alpha == marconi.alpha && replay.saved_cost == marconi.replay.saved_cost);
  }
  EXPECT_TRUE(found) << marconi.alpha;
}

TEST_F(EvictReportTest, ASecondRunGivesTheSameReport) {
  EXPECT_EQ(
      EvictRunsToJson(CompareEviction(SyntheticBlockTrace(), *base::ModelPreset("deepseek-v3"))),
      EvictRunsToJson(runs_));
}

TEST_F(EvictReportTest, TheTableHasABlockForEachSize) {
  const std::string table = EvictRunsToTable(runs_);
  const std::vector<std::string> sizes = absl::StrSplit(table, "\n\n");
  ASSERT_EQ(sizes.size(), 4u);
  EXPECT_THAT(sizes[0], HasSubstr("5 % of the footprint"));
  for (const std::string& size : sizes) {
    EXPECT_THAT(size, HasSubstr("\nbelady "));
    for (const absl::string_view name : storage::EvictionPolicyNames()) {
      EXPECT_THAT(size, HasSubstr("\n" + std::string(name) + " "));
    }
  }
}

TEST(CompareEvictionTest, TheSmallestTraceGetsOneBlock) {
  const auto trace = ParseBlockTrace(
      "t", R"({"timestamp": 0, "input_length": 9, "output_length": 0, "hash_ids": [1]})");
  ASSERT_TRUE(trace.ok());
  for (const EvictRun& run : CompareEviction(*trace, {})) {
    EXPECT_EQ(run.capacity, 1u);
    EXPECT_EQ(run.replay.hit_ratio(), 0);
    EXPECT_EQ(run.replay.tokens, 9u);
  }
}

}  // namespace
}  // namespace cistern::tools
