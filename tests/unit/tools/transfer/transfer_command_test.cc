// `cistern-bench transfer` as a program, against real nodes in other processes: its flags, its
// lines, its exit codes.
#include <algorithm>
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

using ::testing::HasSubstr;
using Json = nlohmann::json;

ProgramOutcome RunTransfer(const std::string& flags) {
  return RunProgram(
      absl::StrCat(CISTERN_BENCH, " transfer --server ", CISTERN_SERVER, " ", flags, " 2>&1"));
}

std::vector<Json> Lines(const ProgramOutcome& outcome) {
  std::vector<Json> lines;
  for (const absl::string_view text : absl::StrSplit(outcome.text, '\n', absl::SkipEmpty()))
    lines.push_back(Json::parse(text.begin(), text.end(), nullptr, false));
  return lines;
}

void ExpectTransfer(const Json& line) {
  for (const char* field : {"gbps", "p50_us", "p99_us", "limit_gbps", "ratio"}) {
    ASSERT_TRUE(line.contains(field) && line[field].is_number()) << field << " in " << line;
    EXPECT_GT(line[field].get<double>(), 0) << field << " in " << line;
  }
  ASSERT_TRUE(line["bytes"].is_number_unsigned() && line["limit"].is_string()) << line;
  EXPECT_GE(line["p99_us"].get<double>(), line["p50_us"].get<double>()) << line;
  const double quotient = line["gbps"].get<double>() / line["limit_gbps"].get<double>();
  EXPECT_NEAR(line["ratio"].get<double>(), quotient, 1e-9 * quotient) << line;
  EXPECT_EQ(line["rounds"], 2) << line;
  // Every operation of every round, and of the one that warms up.
  const uint64_t operations = line["operations"].get<uint64_t>();
  EXPECT_EQ(line["verified_bytes"].get<uint64_t>(),
            line["bytes"].get<uint64_t>() * (operations / 2 * 3))
      << line;
}

void ExpectWorkers(const Json& line) {
  EXPECT_EQ(line["workers"], 3) << line;
  EXPECT_EQ(line["limit"].get<std::string>().substr(0, 8), "memcpy x") << line;
  EXPECT_GT(line["ratio"].get<double>(), 0) << line;
  EXPECT_GE(line["p99_us"].get<double>(), line["p50_us"].get<double>()) << line;
  EXPECT_GT(line["min_share"].get<double>(), 0) << line;
  EXPECT_LE(line["min_share"].get<double>(), 1) << line;
  EXPECT_GE(line["max_share"].get<double>(), 1) << line;
  EXPECT_LE(line["max_share"].get<double>(), 3) << line;
  // In each round and before, every worker fetched something, and that was checked.
  EXPECT_GE(line["verified_bytes"].get<uint64_t>(), 3 * 3 * line["bytes"].get<uint64_t>()) << line;
}

TEST(TransferCommandTest, ALineForEachPathAndSize) {
  const ProgramOutcome outcome = RunTransfer("--json --rounds 2 --workers 3 --sizes 4KiB,300KiB");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  std::map<std::string, int> count;
  for (const Json& line : Lines(outcome)) {
    ASSERT_TRUE(line.is_object() && line.contains("path") && line["path"].is_string())
        << outcome.text;
    const std::string path = line["path"];
    ++count[path];
    if (path == "workers") {
      ExpectWorkers(line);
      continue;
    }
    if (path != "lookup") {
      ExpectTransfer(line);
      EXPECT_EQ(line.contains("stream_ratio"), path.substr(0, 3) == "tcp") << line;
      EXPECT_EQ(line.contains("plan_p50_us"), path == "fetch" || path == "tcp_fetch") << line;
      continue;
    }
    EXPECT_EQ(line["keys"], 64);
    EXPECT_GT(line["keys_per_s"].get<double>(), 0) << line;
    EXPECT_GE(line["p99_us"].get<double>(), line["p50_us"].get<double>()) << line;
    EXPECT_GT(line["p50_us"].get<double>(), 0) << line;
  }
  for (const char* path :
       {"inplace", "fetch", "publish", "tcp_fetch", "tcp_publish", "disk", "workers"})
    EXPECT_EQ(count[path], 2) << path;
  EXPECT_EQ(count["lookup"], 5);
}

TEST(TransferCommandTest, OnlyWhatIsAskedFor) {
  const ProgramOutcome outcome =
      RunTransfer("--rounds 1 --sizes deepseek-v2-lite --paths publish,inplace");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  const std::vector<std::string> lines = absl::StrSplit(outcome.text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u) << outcome.text;
  EXPECT_THAT(lines[0], HasSubstr("ratio"));
  EXPECT_THAT(lines[1], HasSubstr("inplace     deepseek-v2-lite segment      3981312"));
  EXPECT_THAT(lines[2], HasSubstr("publish     deepseek-v2-lite segment      3981312"));
}

TEST(TransferCommandTest, OneWrongByteFailsEveryPath) {
  for (const char* path :
       {"inplace", "fetch", "publish", "tcp_fetch", "tcp_publish", "disk", "workers"}) {
    const ProgramOutcome outcome =
        RunTransfer(absl::StrCat("--json --rounds 1 --sizes 4KiB --flip_a_byte --paths ", path));
    EXPECT_EQ(outcome.exit_code, 2) << path << "\n" << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr("not what was published")) << path;
    EXPECT_THAT(outcome.text, ::testing::Not(HasSubstr("gbps"))) << path;
  }
}

TEST(TransferCommandTest, BadFlagsAreOneLineThatSaysWhy) {
  const std::map<std::string, std::string> wrongs = {
      {"--paths rdma", "--paths 'rdma'; there are: inplace, fetch, publish"},
      {"--paths ''", "--paths names none"},
      {"--sizes huge", "--sizes 'huge': a size (64KiB) or a model (deepseek-v2-lite"},
      {"--sizes 1GiB", "--sizes '1GiB': from 1152 (a row) to 256 MiB"},
      {"--sizes ''", "--sizes names none"},
      {"--rounds 0", "--rounds: from 1 to 1000"},
      {"--rounds 1001", "--rounds: from 1 to 1000"},
      {"--workers 0", "--workers: from 1 to 64"},
      {"--workers 65", "--workers: from 1 to 64"},
      {"--rounds few", "--rounds = 'few': give a whole number"},
  };
  for (const auto& [flags, says] : wrongs) {
    const ProgramOutcome outcome = RunTransfer(absl::StrCat("--json ", flags));
    EXPECT_EQ(outcome.exit_code, 1) << flags;
    EXPECT_THAT(outcome.text, HasSubstr(says)) << flags;
    EXPECT_EQ(std::count(outcome.text.begin(), outcome.text.end(), '\n'), 1) << outcome.text;
  }
  const ProgramOutcome missing =
      RunProgram(absl::StrCat(CISTERN_BENCH, " transfer --server /nonexistent/node 2>&1"));
  EXPECT_EQ(missing.exit_code, 1) << missing.text;
  EXPECT_THAT(missing.text, HasSubstr("cannot start '/nonexistent/node'"));
}

}  // namespace
}  // namespace cistern::tools
