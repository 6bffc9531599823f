// `cistern-bench states` as a program: its flags, its output, its exit codes.
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/tools/run_program.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;

ProgramOutcome RunStates(const std::string& flags) {
  return RunProgram(absl::StrCat(CISTERN_BENCH, " states ", flags, " 2>&1"));
}

// Small regions: what is checked here is what is right, not how fast it is.
constexpr char kSmall[] = " --batch 1 --region_mib 1 --rounds 1";

TEST(StatesCommandTest, OneObjectForEveryCaseAndAllWithinTheBound) {
  const ProgramOutcome outcome = RunStates(absl::StrCat("--json --tokens 8,16", kSmall));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  std::multiset<std::string> kernels;
  const std::vector<std::string> lines = absl::StrSplit(outcome.text, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    kernels.insert(json["kernel"]);
    EXPECT_LE(json["max_rel_l2"].get<double>(), 2e-6) << line;
    for (const char* field :
         {"gbps", "limit_gbps", "ratio_to_limit", "speedup_over_steps", "speedup_over_ring16"}) {
      EXPECT_GT(json[field].get<double>(), 0) << field << " in " << line;
    }
  }
  EXPECT_EQ(kernels.count("fold"), 6u);
  EXPECT_EQ(kernels.count("decode"), 5u);
  EXPECT_EQ(kernels.count("verify"), 5u);
}

TEST(StatesCommandTest, ATableWithoutJson) {
  const ProgramOutcome outcome =
      RunStates(absl::StrCat("--families mamba-1,kda --kernels fold --tokens 16", kSmall));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("x steps"));
  EXPECT_THAT(outcome.text, HasSubstr("jamba-1.5-mini"));
  EXPECT_THAT(outcome.text, HasSubstr("kimi-linear"));
}

TEST(StatesCommandTest, RefusalsAreOneLineThatSaysWhy) {
  const auto expect = [](const std::string& flags, const std::string& text) {
    const ProgramOutcome outcome = RunStates(flags);
    EXPECT_EQ(outcome.exit_code, 1) << flags;
    EXPECT_EQ(outcome.text, "cistern-bench states: " + text + "\n");
  };
  expect("--kernels melt", "--kernels: there is no 'melt'; there are fold, decode, verify");
  expect("--batch 0", "--batch: from 1 to 256");
  expect("--rounds 0", "--rounds: from 1 to 1000");
  expect("--region_mib 0", "--region_mib: from 1 to 4096");
  expect("--families gpt", "--families and --tokens leave no case");
}

}  // namespace
}  // namespace cistern::tools
