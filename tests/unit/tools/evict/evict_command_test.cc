// `cistern-bench evict` as a program: its flags, its output, its exit codes.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;

struct EvictOutcome {
  int exit_code = -1;
  std::string text;
};

EvictOutcome RunEvict(const std::string& flags, const char* redirect) {
  const std::string command = absl::StrCat(CISTERN_BENCH, " evict ", flags, redirect);
  EvictOutcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe)) outcome.text.append(buffer, n);
  outcome.exit_code = WEXITSTATUS(pclose(pipe));
  return outcome;
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
  const EvictOutcome outcome = RunEvict("--json --trace " + path, " 2>&1");
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
  const EvictOutcome outcome = RunEvict("", " 2>&1");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("without --trace: synthetic conversations"));
  EXPECT_THAT(outcome.text, HasSubstr("50 % of the footprint"));
}

TEST(EvictCommandTest, RefusalsAreOneLineThatSaysWhy) {
  const EvictOutcome missing = RunEvict("--trace /nonexistent", " 2>&1");
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(missing.text, "cistern-bench evict: cannot read '/nonexistent'\n");
  const std::string path = TraceFile("evict_command_bad.jsonl", "{\"timestamp\": 0");
  const EvictOutcome bad = RunEvict("--trace " + path, " 2>&1");
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_EQ(bad.text, "cistern-bench evict: " + path + ":1: not a JSON object\n");
  const EvictOutcome model = RunEvict("--cost_model gpt", " 2>&1");
  EXPECT_EQ(model.exit_code, 1);
  EXPECT_THAT(model.text, HasSubstr("no model preset 'gpt'"));
}

}  // namespace
}  // namespace cistern::tools
