// `cistern-bench pools` as a program: its flags, its output, its exit codes.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

// A folder with all that the paper has, in small; every file can be spoiled.
class PoolsCommandFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(directory_);
    for (const char* name : {"uniform_short", "mixed_long", "agentic_burst", "sharegpt_replay"}) {
      for (int replicate = 0; replicate < 3; ++replicate)
        Write(absl::StrCat(name, "_", replicate, ".csv"), "0,0,20,5\n1,4,300,20\n");
    }
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void Write(const std::string& name, const std::string& lines) const {
    std::ofstream(directory_ + "/" + name)
        << "request,arrival_tick,prompt_tokens,generated_tokens\n"
        << lines;
  }
  ProgramOutcome Run(const char* redirect) const {
    return RunPools(absl::StrCat("--json --workloads ", directory_), redirect);
  }

  const std::string directory_ = absl::StrCat(testing::TempDir(), "/pools_command_", getpid());
};

TEST_F(PoolsCommandFiles, EveryLineHasTheSameKeysForEveryPolicy) {
  const ProgramOutcome outcome = Run(" 2>&1");
  EXPECT_EQ(outcome.exit_code, 0);
  const std::vector<std::string> lines = absl::StrSplit(outcome.text, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), 7u * 4 * 2 * 2 * 3);  // policies, workloads, models, sizes, replicates
  for (const std::string& line : lines) {
    const auto json = nlohmann::ordered_json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    std::vector<std::string> keys;
    for (const auto& [key, value] : json.items()) keys.push_back(key);
    EXPECT_EQ(absl::StrJoin(keys, ","),
              "policy,workload,model,gib,replicate,requests,oom,live_evictions,intact,"
              "makespan_ticks,wait_ticks,moved_bytes,ns_per_op");
    EXPECT_EQ(json["requests"], 2);
    EXPECT_EQ(json["makespan_ticks"], 324);
  }
}

TEST_F(PoolsCommandFiles, AFileThatCannotBeReadIsNamed) {
  Write("mixed_long_2.csv", "0,0,20,5\n1,4,three hundred,20\n");
  const ProgramOutcome malformed = Run(" 2>&1");
  EXPECT_EQ(malformed.exit_code, 1);
  EXPECT_THAT(malformed.text, HasSubstr("mixed_long_2.csv:3: four whole numbers are expected"));
  Write("mixed_long_2.csv", "0,0,20,5\n");
  std::filesystem::remove(directory_ + "/sharegpt_replay_1.csv");
  const ProgramOutcome missing = Run(" 2>&1");
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.text, HasSubstr("sharegpt_replay_1.csv'"));
}

TEST(PoolsCommandTest, ATableForPeople) {
  const ProgramOutcome outcome = RunPools("--policies 'static 0.5'", " 2>&1");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("sharegpt_replay is left out"));
  EXPECT_THAT(outcome.text, HasSubstr("live evict"));
  EXPECT_THAT(outcome.text, HasSubstr("static 0.5     all synthetic                 552.0"));
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
