// `cistern-bench peers` as a program, against real servers: its flags, its lines, its exit codes,
// and servers that die or stop on the way. Skipped, and said so, where they are not installed.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/integration/node_under_test.h"
#include "tests/unit/tools/run_program.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

ProgramOutcome RunPeersProgram(const std::string& flags) {
  return RunProgram(
      absl::StrCat(CISTERN_BENCH, " peers --server ", CISTERN_SERVER, " ", flags, " 2>&1"));
}

class PeersCommandTest : public testing::Test {
 protected:
  PeersCommandTest() {
    fs::create_directory(scratch_.Path("tmp"));
    setenv("TMPDIR", scratch_.Path("tmp").c_str(), 1);
  }
  ~PeersCommandTest() override { unsetenv("TMPDIR"); }

  void SetUp() override {
    const ProgramOutcome tried =
        RunPeersProgram("--json --rounds 1 --sizes 4KiB --connections 1 --over unix --plan_before");
    if (absl::StrContains(tried.text, "install the Debian package")) GTEST_SKIP() << tried.text;
    ASSERT_EQ(tried.exit_code, 0) << tried.text;
  }

  // The process of a bench that has the scratch folder's name and `word` in its command line, or 0.
  pid_t Server(const std::string& word) const {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream in(entry.path() / "cmdline");
      std::string line;
      std::getline(in, line);
      if (absl::StrContains(line, scratch_.Path("tmp")) && absl::StartsWith(line, word))
        return std::stoi(entry.path().filename());
    }
    return 0;
  }

  // A bench that has given its first line and will be busy for long.
  std::unique_ptr<cacheserver::Process> RunningBench(const std::string& peer) {
    auto bench = std::make_unique<cacheserver::Process>(
        std::vector<std::string>{CISTERN_BENCH, "peers", "--server", CISTERN_SERVER, "--json",
                                 "--peers", peer, "--over=unix", "--connections=2", "--rounds=40",
                                 "--sizes=4KiB,8MiB,8MiB"},
        scratch_.Path("bench"));
    cacheserver::Await("its first line",
                       [&] { return !bench->Running() || absl::StrContains(bench->Out(), "GET"); });
    EXPECT_TRUE(bench->Running()) << bench->Err();
    return bench;
  }

  cacheserver::Scratch scratch_;
};

void ExpectPeerLine(const Json& line) {
  for (const char* field : {"peer_gbps", "ours_gbps", "ratio"}) {
    ASSERT_TRUE(line.contains(field) && line[field].is_number()) << field << " in " << line;
    EXPECT_GT(line[field].get<double>(), 0) << field << " in " << line;
  }
  const double quotient = line["ours_gbps"].get<double>() / line["peer_gbps"].get<double>();
  EXPECT_NEAR(line["ratio"].get<double>(), quotient, 1e-9 * quotient) << line;
}

TEST_F(PeersCommandTest, ALineForEachOfThem) {
  const ProgramOutcome outcome = RunPeersProgram("--json --rounds 1 --sizes 4KiB,300KiB");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  std::set<std::string> lines;
  for (const absl::string_view text : absl::StrSplit(outcome.text, '\n', absl::SkipEmpty())) {
    const Json line = Json::parse(text.begin(), text.end(), nullptr, false);
    ASSERT_TRUE(line.is_object()) << outcome.text;
    ExpectPeerLine(line);
    lines.insert(absl::StrCat(line["peer"].get<std::string>(), line["op"].get<std::string>(),
                              line["over"].get<std::string>(), line["bytes"].get<uint64_t>(), "x",
                              line["connections"].get<uint32_t>()));
  }
  EXPECT_EQ(lines.size(), 2u * 2 * 2 * 2 * 2) << outcome.text;
  EXPECT_TRUE(lines.contains("redisGETunix4608x1")) << outcome.text;
  EXPECT_TRUE(lines.contains("memcachedSETtcp306432x8")) << outcome.text;
}

TEST_F(PeersCommandTest, OneWrongByteOfAnySideFailsTheRun) {
  const ProgramOutcome outcome =
      RunPeersProgram("--json --rounds 1 --sizes 4KiB --connections 1 --flip_a_byte");
  EXPECT_EQ(outcome.exit_code, 2) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("1 rows of 4KiB from the node are not what was stored"));
  EXPECT_THAT(outcome.text, Not(HasSubstr("gbps")));
}

TEST_F(PeersCommandTest, AServerThatDiesOnTheWayIsAnErrorAndLeavesNothing) {
  for (const std::string peer : {"redis", "memcached"}) {
    const auto bench = RunningBench(peer);
    const pid_t server = Server(peer);
    ASSERT_NE(server, 0) << peer;
    kill(server, SIGKILL);
    const cacheserver::Finished finished = bench->Wait();
    EXPECT_EQ(finished.exit_code, 3) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr(absl::StrCat("cistern-bench peers: ", peer, ": ")));
    EXPECT_EQ(Server(""), 0);
    EXPECT_TRUE(fs::is_empty(scratch_.Path("tmp")));
  }
}

TEST_F(PeersCommandTest, AServerThatStopsAnsweringIsAnErrorToo) {
  const auto bench = RunningBench("memcached,redis");
  for (const std::string peer : {"redis", "memcached"}) {
    ASSERT_NE(Server(peer), 0) << peer;
    kill(Server(peer), SIGSTOP);
  }
  const cacheserver::Finished finished = bench->Wait();
  EXPECT_EQ(finished.exit_code, 3) << finished.err;
  EXPECT_EQ(Server(""), 0);
}

TEST_F(PeersCommandTest, ASignalEndsAllServers) {
  const auto bench = RunningBench("memcached,redis");
  for (const std::string program : {"redis", "memcached", CISTERN_SERVER})
    EXPECT_NE(Server(program), 0) << program;
  bench->Signal(SIGTERM);
  EXPECT_EQ(bench->Wait().exit_code, 128 + SIGTERM);
  EXPECT_EQ(Server(""), 0);
  EXPECT_TRUE(fs::is_empty(scratch_.Path("tmp")));
}

TEST(PeersFlagsTest, BadFlagsAreOneLineThatSaysWhy) {
  const std::map<std::string, std::string> wrongs = {
      {"--peers etcd", "--peers 'etcd'; there are: redis, memcached"},
      {"--over rdma", "--over 'rdma'; there are: unix, tcp"},
      {"--connections 0", "--connections '0': from 1 to 64"},
      {"--sizes huge", "--sizes 'huge': a size (64KiB) or a model (deepseek-v2-lite"},
      {"--rounds 0", "--rounds: from 1 to 1000"},
  };
  for (const auto& [flags, says] : wrongs) {
    const ProgramOutcome outcome = RunPeersProgram(absl::StrCat("--json ", flags));
    EXPECT_EQ(outcome.exit_code, 1) << flags;
    EXPECT_THAT(outcome.text, HasSubstr(says)) << flags;
    EXPECT_EQ(std::count(outcome.text.begin(), outcome.text.end(), '\n'), 1) << outcome.text;
  }
}

TEST(PeersFlagsTest, AServerThatIsNotInstalledIsNamedByItsPackage) {
  const ProgramOutcome outcome =
      RunProgram(absl::StrCat("PATH=/nonexistent ", CISTERN_BENCH, " peers --json 2>&1"));
  EXPECT_EQ(outcome.exit_code, 1) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("install the Debian package redis-server"));
}

}  // namespace
}  // namespace cistern::tools
