// `cistern-bench pools` as a program: its flags, its output, its exit codes.
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

ProgramOutcome RunPools(const std::string& flags, const char* redirect) {
  return RunProgram(absl::StrCat(CISTERN_BENCH, " pools ", flags, redirect));
}

TEST(PoolsCommandTest, OneObjectForEveryRunOfTheDrawnWorkloads) {
  const ProgramOutcome outcome =
      RunPools("--json --policies 'avmp 128, shared,ours'", " 2>/dev/null");
  EXPECT_EQ(outcome.exit_code, 0);
  const std::vector<std::string> lines = absl::StrSplit(outcome.text, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), 3u * 3 * 2 * 2 * 3);  // policies, workloads, models, sizes, replicates
  uint64_t oom = 0;
  for (const std::string& line : lines) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    if (json["policy"] == "avmp 128") {
      oom += json["oom"].get<uint64_t>();
    } else {
      EXPECT_EQ(json["live_evictions"], 0) << line;
      EXPECT_EQ(json["intact"].get<uint64_t>() + json["oom"].get<uint64_t>(), json["requests"])
          << line;
    }
  }
  EXPECT_EQ(oom, 3 * 510u);
}

TEST(PoolsCommandTest, ATableForPeople) {
  const ProgramOutcome outcome = RunPools("--policies 'static 0.5'", " 2>&1");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("sharegpt_replay is left out"));
  EXPECT_THAT(outcome.text, HasSubstr("live evict"));
  EXPECT_THAT(outcome.text, HasSubstr("static 0.5  all synthetic                 552.0"));
}

TEST(PoolsCommandTest, RefusalsSayWhatToDo) {
  const ProgramOutcome unknown = RunPools("--policies lru", " 2>&1");
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.text, HasSubstr("unknown policy 'lru'; there are: padded, static R"));
  const ProgramOutcome none = RunPools("--policies ,", " 2>&1");
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.text, HasSubstr("--policies names none"));
  const ProgramOutcome missing = RunPools("--workloads /nonexistent", " 2>&1");
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.text, HasSubstr("cannot read '/nonexistent/sharegpt_replay_0.csv'"));
}

}  // namespace
}  // namespace cistern::tools
