// `cistern-bench evict` as a program: its flags, its output, its exit codes.
#include <fstream>
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

ProgramOutcome RunEvict(const std::string& flags, const char* redirect) {
  return RunProgram(absl::StrCat(CISTERN_BENCH, " evict ", flags, redirect));
}

std::string TraceFile(const std::string& name, const std::string& text) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

TEST(EvictCommandTest, OneObjectForEveryPolicyAndSize) {
  const std::string line =
      R"({"timestamp": 0, "input_length": 1000, "output_length": 1, "hash_ids": [1, 2]})"
      "\n";
  const std::string path = TraceFile("evict_command_whole.jsonl", line + line);
  const ProgramOutcome outcome = RunEvict("--json --trace " + path, " 2>&1");
  EXPECT_EQ(outcome.exit_code, 0);
  const std::vector<std::string> lines = absl::StrSplit(outcome.text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 16u) << outcome.text;
  for (const std::string& text : lines) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    ASSERT_TRUE(json.is_object()) << text;
    for (const char* field :
         {"policy", "fraction", "hit_ratio", "cost_saved", "belady_hit_ratio"}) {
      EXPECT_TRUE(json.contains(field)) << field << " in " << text;
    }
    // One block fits, and it is the first of two: 512 of 2000 tokens hit.
    EXPECT_DOUBLE_EQ(json["hit_ratio"].get<double>(), 512.0 / 2000) << text;
    EXPECT_DOUBLE_EQ(json["belady_hit_ratio"].get<double>(), 512.0 / 2000) << text;
  }
}

TEST(EvictCommandTest, WithoutATraceItMakesOne) {
  const ProgramOutcome outcome = RunEvict("", " 2>&1");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("without --trace: synthetic conversations"));
  EXPECT_THAT(outcome.text, HasSubstr("50 % of the footprint"));
}

TEST(EvictCommandTest, RefusalsAreOneLineThatSaysWhy) {
  const ProgramOutcome missing = RunEvict("--trace /nonexistent", " 2>&1");
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(missing.text, "cistern-bench evict: cannot read '/nonexistent'\n");
  const std::string path = TraceFile("evict_command_bad.jsonl", "{\"timestamp\": 0");
  const ProgramOutcome bad = RunEvict("--trace " + path, " 2>&1");
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_EQ(bad.text, "cistern-bench evict: " + path + ":1: not a JSON object\n");
  const ProgramOutcome model = RunEvict("--cost_model gpt", " 2>&1");
  EXPECT_EQ(model.exit_code, 1);
  EXPECT_THAT(model.text, HasSubstr("no model preset 'gpt'"));
}

}  // namespace
}  // namespace cistern::tools
