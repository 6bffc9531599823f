#include "tools/bench/states/states_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;

const StatesLine kLine{.kernel = "fold",
                       .model = "a-model",
                       .family = "kda",
                       .shape = "4/2 x 8 x 16",
                       .batch = 3,
                       .tokens = 16,
                       .rounds = 5,
                       .gbps = 6,
                       .limit_gbps = 8,
                       .ratio_to_limit = 0.75,
                       .speedup_over_steps = 2.5,
                       .speedup_over_ring16 = 1.25,
                       .max_rel_l2 = 1e-7};

TEST(StatesReportTest, JsonHasEveryField) {
  const auto json = nlohmann::json::parse(ToJson(kLine));
  EXPECT_EQ(json["kernel"], "fold");
  EXPECT_EQ(json["family"], "kda");
  EXPECT_EQ(json["shape"], "4/2 x 8 x 16");
  EXPECT_EQ(json["batch"], 3);
  EXPECT_EQ(json["tokens"], 16);
  EXPECT_EQ(json["gbps"], 6);
  EXPECT_EQ(json["limit_gbps"], 8);
  EXPECT_EQ(json["ratio_to_limit"], 0.75);
  EXPECT_EQ(json["speedup_over_steps"], 2.5);
  EXPECT_EQ(json["speedup_over_ring16"], 1.25);
  EXPECT_EQ(json["max_rel_l2"], 1e-7);
}

TEST(StatesReportTest, TheTableHasTheSameColumns) {
  const std::string head = StatesTableHead(), row = ToTableRow(kLine);
  EXPECT_EQ(head.size(), row.size());
  for (const char* part : {"a-model", "kda", "0.75", "2.50", "1.25", "1.0e-07"}) {
    EXPECT_THAT(row, HasSubstr(part));
  }
}

}  // namespace
}  // namespace cistern::tools
