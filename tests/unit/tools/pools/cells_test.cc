#include "tools/bench/pools/cells.h"

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/pools/synthetic_workload.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

PoolRun RunOf(const char* policy, const char* workload, uint32_t replicate, uint64_t oom) {
  return {.policy = policy,
          .workload = workload,
          .model = "jamba",
          .gib = 4,
          .replicate = replicate,
          .requests = 10,
          .oom = oom,
          .makespan_ticks = 100 * oom};
}

TEST(PoolCellsTest, MeansOverReplicatesAndSumsOverSyntheticCells) {
  const std::vector<PoolRun> runs = {
      RunOf("a", "uniform_short", 0, 1), RunOf("a", "uniform_short", 1, 2),
      RunOf("a", "mixed_long", 0, 7),    RunOf("a", "sharegpt_replay", 0, 1000),
      RunOf("b", "mixed_long", 0, 4),
  };
  const std::vector<PoolSummary> cells = SummarizeCells(runs);
  ASSERT_EQ(cells.size(), 4u);
  EXPECT_EQ(cells[0].oom, 1.5);
  EXPECT_EQ(cells[0].makespan_ticks, 150);
  const std::vector<PoolSummary> totals = SummarizeTotals(cells);
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals[0].oom, 8.5);
  EXPECT_EQ(totals[1].oom, 4);
  const std::string table = PoolRunsToTable(runs);
  EXPECT_THAT(table, HasSubstr("sharegpt_replay jamba 4"));
  EXPECT_THAT(table, HasSubstr("all synthetic"));
}

TEST(PoolCellsTest, OneJsonObjectALine) {
  const std::string text =
      PoolRunsToJson({RunOf("ours", "mixed_long", 2, 3), RunOf("b", "c", 0, 0)});
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u);
  const auto json = nlohmann::json::parse(lines[0]);
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_THAT(
      keys, UnorderedElementsAre("policy", "workload", "model", "gib", "replicate", "requests",
                                 "oom", "live_evictions", "intact", "makespan_ticks", "wait_ticks",
                                 "moved_bytes", "ns_per_op"));
  EXPECT_EQ(json["makespan_ticks"], 300);
  EXPECT_EQ(json["policy"], "ours");
}

// Everything but the time taken is a function of the requests.
TEST(PoolCellsTest, TwoRunsAgree) {
  const auto workload = MakeSyntheticWorkload("uniform_short", 1);
  ASSERT_TRUE(workload.ok()) << workload.status();
  for (const char* policy :
       {"padded", "static 0.5", "avmp 16", "shared", "ours", "ours+predictor"}) {
    auto once = [&] {
      auto run = RunPoolCell(*ParsePolicyName(policy), *workload, JambaPools(), 1);
      EXPECT_TRUE(run.ok()) << run.status();
      EXPECT_GT(run->ns_per_op, 0);
      run->ns_per_op = run->rebalance_us = run->ahead_us = 0;
      return PoolRunsToJson({*run});
    };
    EXPECT_EQ(once(), once());
  }
}

}  // namespace
}  // namespace cistern::tools
