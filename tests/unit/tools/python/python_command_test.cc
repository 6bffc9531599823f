// `cistern-bench python` as a program, with a real node and a real Python worker in other
// processes: its flags, its lines, its exit codes. Not how fast it is.
#include <map>
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

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

ProgramOutcome RunPython(const std::string& flags) {
  return RunProgram(
      absl::StrCat(CISTERN_BENCH, " python --server ", CISTERN_SERVER, " ", flags, " 2>&1"));
}

void ExpectLine(const Json& line) {
  for (const char* field : {"cpp_us", "python_us", "ratio"}) {
    ASSERT_TRUE(line.contains(field) && line[field].is_number()) << field << " in " << line;
    EXPECT_GT(line[field].get<double>(), 0) << field << " in " << line;
  }
  EXPECT_TRUE(line["overhead_us"].is_number() && line["meets"].is_boolean()) << line;
  EXPECT_TRUE(line.contains("overhead_us_max") || line.contains("ratio_max")) << line;
  EXPECT_EQ(line["rounds"], 2) << line;
}

TEST(PythonCommandTest, ALineForEachWork) {
  const ProgramOutcome outcome = RunPython("--json --rounds 2 --round_calls 40");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  std::vector<std::string> works;
  Json rows;
  for (const absl::string_view text : absl::StrSplit(outcome.text, '\n', absl::SkipEmpty())) {
    const Json line = Json::parse(text.begin(), text.end(), nullptr, false);
    ASSERT_TRUE(line.is_object() && line["work"].is_string()) << outcome.text;
    works.push_back(line["work"]);
    ExpectLine(line);
    if (works.back() == "publish_rows") rows = line;
    const bool large = works.back() == "publish_rows" || works.back() == "view";
    EXPECT_EQ(line["calls"], large ? 2 : 40) << line;
  }
  EXPECT_THAT(works, ElementsAre("find", "plan", "plan_list", "fetch", "get", "put", "publish",
                                 "view", "publish_rows"));
  ASSERT_TRUE(rows.is_object());
  EXPECT_EQ(rows["in_place"], true) << rows;
  EXPECT_THAT(rows["arrays"].get<std::string>(), HasSubstr("16")) << rows;  // bfloat16, uint16
  EXPECT_GT(rows["bytes"].get<uint64_t>(), 15u << 20) << rows;
  EXPECT_LT(rows["extra_bytes"].get<uint64_t>(), rows["bytes"].get<uint64_t>() / 2) << rows;
}

TEST(PythonCommandTest, OneWrongByteFailsEveryWorkThatReads) {
  for (const char* work : {"fetch", "get", "publish", "view", "publish_rows"}) {
    const ProgramOutcome outcome =
        RunPython(absl::StrCat("--json --rounds 1 --round_calls 2 --flip_a_byte --works ", work));
    EXPECT_EQ(outcome.exit_code, 2) << work << "\n" << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr("is not what was stored")) << work;
    EXPECT_THAT(outcome.text, Not(HasSubstr("python_us"))) << work;
  }
}

TEST(PythonCommandTest, OnlyWhatIsAskedForAsATable) {
  const ProgramOutcome outcome = RunPython("--rounds 1 --round_calls 2 --works put,find");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  const std::vector<std::string> lines = absl::StrSplit(outcome.text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u) << outcome.text;
  EXPECT_THAT(lines[0], HasSubstr("overhead"));
  EXPECT_THAT(lines[1], HasSubstr("find          blobs.find of 64 names"));
  EXPECT_THAT(lines[2], HasSubstr("put           blobs.put of 4 KiB"));
}

TEST(PythonCommandTest, WhatCannotBeRunSaysWhy) {
  const std::map<std::string, std::string> wrongs = {
      {"--works nap", "--works 'nap'; there are: find, plan"},
      {"--round_calls 0", "--round_calls: from 1 to 100000"},
      {"--rounds 0", "--rounds: from 1"},
      {"--python /nonexistent/python", "name an interpreter that has cistern and numpy"},
      {"--python true", "stopped at once"}};
  for (const auto& [flags, says] : wrongs) {
    const ProgramOutcome outcome = RunPython(flags);
    EXPECT_EQ(outcome.exit_code, 1) << flags << "\n" << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(says)) << flags;
  }
}

}  // namespace
}  // namespace cistern::tools
