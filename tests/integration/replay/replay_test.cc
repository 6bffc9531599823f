// Whole workloads against real servers in other processes, over shared memory, by copy and over the
// network. Replay itself compares every row that it fetched with what computing it gives.
//
// Recorded traces are used where CISTERN_TRACES names a directory of them (history.jsonl,
// meta50.jsonl, ... and pieces.jsonl); those tests skip otherwise.
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/tools/run_program.h"
#include <nlohmann/json.hpp>

extern char** environ;

namespace cistern {
namespace {

using ::testing::HasSubstr;
using tools::ProgramOutcome;
using tools::RunProgram;
using Json = nlohmann::json;

ProgramOutcome RunBench(const std::string& flags) {
  return RunProgram(absl::StrCat(CISTERN_BENCH, " replay ", flags, " 2>&1"));
}

// The report of a run that went well; an empty object otherwise.
Json Report(const std::string& flags) {
  const ProgramOutcome outcome = RunBench(absl::StrCat(flags, " --json"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  const size_t begin = outcome.text.find('{');
  Json json =
      Json::parse(begin == std::string::npos ? "{}" : outcome.text.substr(begin), nullptr, false);
  EXPECT_TRUE(json.is_object() && json.contains("rows_verified")) << outcome.text;
  return json;
}

uint64_t Count(const Json& report, const char* key) { return report.value(key, uint64_t{0}); }

double Recovered(const Json& report) {
  return static_cast<double>(Count(report, "exact_tokens") + Count(report, "content_tokens")) /
         static_cast<double>(Count(report, "bound_tokens"));
}

void ExpectGood(const Json& report) {
  EXPECT_GT(Count(report, "rows_verified"), 0u);
  EXPECT_EQ(Count(report, "rows_mismatched"), 0u);
  EXPECT_EQ(Count(report, "exact_tokens") + Count(report, "content_tokens") +
                Count(report, "computed_tokens"),
            Count(report, "prompt_tokens"));
}

constexpr char kSession[] = "--workload repo --layers 2 --calls 24 ";

TEST(ReplayTest, ShiftedPromptsAreRecoveredInPlace) {
  const Json report = Report(kSession);
  ExpectGood(report);
  EXPECT_GT(Recovered(report), 0.95);
  EXPECT_GT(Count(report, "content_tokens"), Count(report, "prompt_tokens") / 2);
  EXPECT_EQ(Count(report, "bytes_in_place"), Count(report, "bytes_fetched"));
}

TEST(ReplayTest, WithoutStructureToo) {
  const Json report = Report(absl::StrCat(kSession, "--flat"));
  ExpectGood(report);
  EXPECT_GT(Recovered(report), 0.85);
}

TEST(ReplayTest, ByCopyTheSameRows) {
  const Json report = Report(absl::StrCat(kSession, "--by_copy"));
  ExpectGood(report);
  EXPECT_GT(Recovered(report), 0.95);
  EXPECT_EQ(Count(report, "bytes_in_place"), 0u);
}

TEST(ReplayTest, RotatedRowsStayWithinTheBound) {
  const Json report = Report(absl::StrCat(kSession, "--rotated"));
  ExpectGood(report);
  EXPECT_GT(Recovered(report), 0.95);
}

TEST(ReplayTest, ExactPolicyTakesLosslessRowsOnly) {
  const Json report = Report(absl::StrCat(kSession, "--policy exact"));
  EXPECT_EQ(Count(report, "content_tokens"), 0u);
  EXPECT_EQ(Count(report, "lossless_tokens"), Count(report, "exact_tokens"));
  EXPECT_EQ(Count(report, "rows_mismatched"), 0u);
}

TEST(ReplayTest, HeadsOfContentSpansAreComputedOnRequest) {
  const Json all = Report(kSession), heads = Report(absl::StrCat(kSession, "--recompute_head 16"));
  ExpectGood(heads);
  EXPECT_LT(Count(heads, "content_tokens"), Count(all, "content_tokens"));
}

TEST(ReplayTest, ANodeInTheProcess) {
  const Json report = Report(absl::StrCat(kSession, "--embedded"));
  ExpectGood(report);
  EXPECT_GT(Recovered(report), 0.95);
}

// The pool is far smaller than the working set: what does not fit comes back from disk, and nothing
// is lost.
TEST(ReplayTest, ASmallPoolRecoversTheSameThroughTheDisk) {
  const Json large = Report(absl::StrCat(kSession, ""));
  const Json small = Report(absl::StrCat(kSession, "--pool 48MiB"));
  ExpectGood(small);
  EXPECT_GT(Count(small, "bytes_from_disk"), 0u);
  EXPECT_NEAR(Recovered(small), Recovered(large), 0.01);
}

TEST(ReplayTest, AKilledNodeServesWhatWasOnDisk) {
  const Json report = Report(absl::StrCat(kSession, "--pool 48MiB --kill_after 16"));
  ExpectGood(report);
  EXPECT_GT(Recovered(report), 0.6);
}

// One report a line.
std::vector<Json> HybridReports(const std::string& flags) {
  const ProgramOutcome outcome = RunBench(absl::StrCat(flags, " --json"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  std::vector<Json> reports;
  for (const absl::string_view line : absl::StrSplit(outcome.text, '\n')) {
    if (!absl::StartsWith(line, "{")) continue;
    reports.push_back(Json::parse(line.begin(), line.end(), nullptr, false));
  }
  return reports;
}

void ExpectGoodStates(const Json& report) {
  EXPECT_GT(Count(report, "rows_verified"), 0u);
  EXPECT_EQ(Count(report, "rows_mismatched"), 0u);
  EXPECT_GT(Count(report, "states_verified"), 0u);
  EXPECT_EQ(Count(report, "states_mismatched"), 0u);
  EXPECT_LE(Count(report, "recovered_tokens"), Count(report, "bound_tokens"));
}

double RecoveredStates(const Json& report) {
  return static_cast<double>(Count(report, "recovered_tokens")) /
         static_cast<double>(Count(report, "bound_tokens"));
}

// The first prompt that leaves a path finds no state there: short sessions stay below the bound.
constexpr char kSessions[] = "--workload sessions --calls 18 --layers 1 ";

TEST(HybridReplayTest, SchemesSideBySide) {
  const std::vector<Json> reports =
      HybridReports(absl::StrCat(kSessions, "--model jamba-1.5-mini --embedded"));
  ASSERT_EQ(reports.size(), 4u);
  const Json &multiples = reports[0], &ends = reports[1], &branches = reports[2], &log = reports[3];
  for (const Json& report : reports) ExpectGoodStates(report);
  EXPECT_EQ(multiples.value("scheme", ""), "multiples");
  EXPECT_EQ(log.value("scheme", ""), "log");
  EXPECT_GT(RecoveredStates(log), 0.9);
  EXPECT_GT(RecoveredStates(log), RecoveredStates(multiples));
  EXPECT_GE(RecoveredStates(branches), RecoveredStates(ends));
  EXPECT_EQ(Count(branches, "recovered_tokens"), Count(log, "recovered_tokens"));
  EXPECT_EQ(Count(branches, "logs_stored"), 0u);
}

// Short turns: many of their states are logs, and take fewer bytes than checkpoints would.
TEST(HybridReplayTest, LogsTakeFewerBytes) {
  const std::vector<Json> reports =
      HybridReports(absl::StrCat(kSessions, "--model qwen3-next --calls 8 --scheme log"));
  ASSERT_EQ(reports.size(), 1u);
  const Json& log = reports[0];
  ExpectGoodStates(log);
  EXPECT_GT(Count(log, "logs_stored"), 0u);
  EXPECT_GT(Count(log, "folded_tokens"), 0u);
  constexpr uint64_t kCheckpoint = 2097152 + 49152;  // of one layer
  EXPECT_LT(Count(log, "bytes_stored"),
            (Count(log, "checkpoints_stored") + Count(log, "logs_stored")) * kCheckpoint);
}

TEST(HybridReplayTest, ByCopyTheSameStates) {
  const std::vector<Json> reports = HybridReports(
      absl::StrCat(kSessions, "--model kimi-linear --calls 8 --scheme log --by_copy"));
  ASSERT_EQ(reports.size(), 1u);
  ExpectGoodStates(reports[0]);
  EXPECT_GT(RecoveredStates(reports[0]), 0.7);
}

// A model of each family, over shared memory, from a node in another process: every resumed state
// is what float64 gives. Logs are worth it where a checkpoint is large; Mamba-1's are small.
class FamilyReplayTest : public ::testing::TestWithParam<const char*> {
 protected:
  Json Run(const std::string& flags) {
    const std::vector<Json> reports =
        HybridReports(absl::StrCat(kSessions, "--scheme log --model ", GetParam(), " ", flags));
    return reports.size() == 1 ? reports[0] : Json::object();
  }
};

TEST_P(FamilyReplayTest, ResumesWhatFloat64Gives) {
  const Json report = Run("--calls 10");
  ExpectGoodStates(report);
  EXPECT_GT(RecoveredStates(report), 0.7);
  EXPECT_GT(Count(report, "checkpoints_stored"), 0u);
  if (std::string(GetParam()) != "jamba-1.5-mini") {
    EXPECT_GT(Count(report, "folded_tokens"), 0u);
  }
}

TEST_P(FamilyReplayTest, AKilledNodeResumesWhatWasOnDisk) {
  const Json report = Run("--calls 9 --pool 40MiB --kill_after 6");
  ExpectGoodStates(report);
  EXPECT_GT(Count(report, "recovered_tokens"), 0u);
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, FamilyReplayTest,
                         ::testing::Values("jamba-1.5-mini", "nemotron-h-8b", "nemotron-3-nano",
                                           "qwen3-next", "granite-4.0-h-small", "kimi-linear",
                                           "minimax-01"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return name;
                         });

TEST(HybridReplayTest, BadFlagsSayWhatToDo) {
  const auto error_of = [](const std::string& flags) {
    const ProgramOutcome outcome = RunBench(absl::StrCat("--workload sessions ", flags));
    EXPECT_EQ(outcome.exit_code, 1) << flags << "\n" << outcome.text;
    return outcome.text;
  };
  EXPECT_THAT(error_of("--model qwen3-next --scheme some"), HasSubstr("multiples, ends, branches"));
  EXPECT_THAT(error_of("--model glm-5 --scheme log"), HasSubstr("keeps no recurrent state"));
  EXPECT_THAT(error_of("--model qwen3-next --rotated"), HasSubstr("moves no rows"));
  EXPECT_THAT(error_of("--model qwen3-next --recompute_head 4"), HasSubstr("moves no rows"));
  EXPECT_THAT(error_of("--model qwen3-next --layers 37"), HasSubstr("36"));
  EXPECT_THAT(error_of("--model qwen3-next --policy some"), HasSubstr("unknown --policy"));
  EXPECT_THAT(error_of("--model qwen3-next --address unix:/nonexistent/node.sock"),
              HasSubstr("a node of its own"));
  EXPECT_THAT(error_of("--model qwen3-next --embedded --kill_after 1"), HasSubstr("--kill_after"));
}

// A port that was free a moment ago.
std::string FreeAddress() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
}

TEST(ReplayTest, OverTheNetwork) {
  const std::string address = FreeAddress();
  std::vector<std::string> words = {CISTERN_SERVER,
                                    "--unix_socket=", absl::StrCat("--ucx_address=", address),
                                    "--pool_bytes=256MiB", "--log_level=error"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t server = 0;
  ASSERT_EQ(posix_spawn(&server, CISTERN_SERVER, nullptr, nullptr, argv.data(), environ), 0);

  ProgramOutcome outcome;
  for (int attempt = 0; attempt < 100; ++attempt) {  // until it listens
    outcome = RunBench(absl::StrCat(kSession, "--json --address ", address));
    if (outcome.exit_code == 0) break;
    usleep(100'000);
  }
  kill(server, SIGTERM);
  int status = 0;
  EXPECT_EQ(waitpid(server, &status, 0), server);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "the server's exit status: " << status;

  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  const Json report = Json::parse(outcome.text.substr(outcome.text.find('{')), nullptr, false);
  ASSERT_TRUE(report.is_object()) << outcome.text;
  ExpectGood(report);
  EXPECT_GT(Recovered(report), 0.95);
  EXPECT_EQ(Count(report, "bytes_in_place"), 0u);
}

TEST(ReplayTest, BadFlagsSayWhatToDo) {
  const auto error_of = [](const std::string& flags) {
    const ProgramOutcome outcome = RunBench(flags);
    EXPECT_EQ(outcome.exit_code, 1) << flags << "\n" << outcome.text;
    return outcome.text;
  };
  EXPECT_THAT(error_of(""), HasSubstr("--trace FILE or --workload repo"));
  EXPECT_THAT(error_of("--trace /nonexistent.jsonl"), HasSubstr("/nonexistent.jsonl"));
  EXPECT_THAT(error_of("--workload nonsense"), HasSubstr("nonsense"));
  EXPECT_THAT(error_of("--workload repo --model nonsense"), HasSubstr("deepseek-v2-lite"));
  EXPECT_THAT(error_of("--workload repo --layers 99"), HasSubstr("27"));
  EXPECT_THAT(error_of("--workload repo --policy nonsense"), HasSubstr("content"));
  EXPECT_THAT(error_of("--workload repo --pool many"), HasSubstr("512MiB"));
  EXPECT_THAT(error_of("--workload repo --address unix:/nonexistent/node.sock"),
              HasSubstr("/nonexistent/node.sock"));
  EXPECT_THAT(error_of("--workload repo --server /nonexistent/cistern-server"),
              HasSubstr("cistern-server"));
  EXPECT_THAT(error_of("--workload repo --embedded --address unix:/tmp/x"),
              HasSubstr("choose one"));
  EXPECT_THAT(error_of("--workload repo --embedded --kill_after 1"), HasSubstr("--kill_after"));
  EXPECT_THAT(error_of("--workload repo --layers 2 --pool 64KiB"), HasSubstr("pool"));
}

class RecordedTraceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* directory = std::getenv("CISTERN_TRACES");
    if (directory == nullptr)
      GTEST_SKIP() << "set CISTERN_TRACES to a directory of recorded traces";
    directory_ = directory;
  }
  Json Replay(const std::string& trace, const std::string& flags = "") const {
    return Report(absl::StrCat("--trace ", (directory_ / trace).string(), " --layers 2 ", flags));
  }

  std::filesystem::path directory_;
};

TEST_F(RecordedTraceTest, AppendOnlySessionsAreExact) {
  const Json report = Replay("history.jsonl");
  ExpectGood(report);
  EXPECT_GE(100 * Count(report, "exact_tokens"), 93 * Count(report, "prompt_tokens"));
}

TEST_F(RecordedTraceTest, StructureBringsTheBound) {
  for (const char* trace : {"history", "meta50", "meta250", "meta1000", "meta2000", "retrieval"}) {
    const Json report = Replay(absl::StrCat(trace, ".jsonl"));
    ExpectGood(report);
    EXPECT_GE(Recovered(report), 0.985) << trace;
  }
}

TEST_F(RecordedTraceTest, ChangingHeadersWithoutStructure) {
  for (const char* trace : {"meta50", "meta250", "meta1000", "meta2000"}) {
    const Json report = Replay(absl::StrCat(trace, ".jsonl"), "--flat");
    ExpectGood(report);
    EXPECT_GE(Recovered(report), 0.90) << trace;
  }
}

TEST_F(RecordedTraceTest, StatesOfAppendOnlySessions) {
  const std::vector<Json> reports =
      HybridReports(absl::StrCat("--trace ", (directory_ / "history.jsonl").string(),
                                 " --layers 1 --calls 100 --model qwen3-next"));
  ASSERT_EQ(reports.size(), 4u);
  for (const Json& report : reports) ExpectGoodStates(report);
  EXPECT_GT(RecoveredStates(reports[3]), 0.98);
  EXPECT_LT(Count(reports[3], "bytes_stored"), Count(reports[2], "bytes_stored"));
}

}  // namespace
}  // namespace cistern
