// Wrong command lines: the exit code that --help promises, one line that names the program, and
// what would be right.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/integration/node_under_test.h"

namespace cistern::cacheserver {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Finished RunProgram(const std::vector<std::string>& words) {
  const Scratch scratch;
  Process process(words, scratch.Path("run"));
  return process.Wait();
}

struct Wrong {
  std::vector<std::string> words;
  int exit_code;
  std::string says;
};

TEST(WordsTest, AWrongWordIsNamedInOneLine) {
  const std::vector<Wrong> wrongs = {
      {{CISTERN_SERVER, "--no_such"}, 2, "cistern-server: there is no flag --no_such"},
      {{CISTERN_SERVER, "--huge_pages=7x"}, 2, "--huge_pages = '7x': give true or false"},
      {{CISTERN_SERVER, "--lanes=many"}, 2, "--lanes = 'many': give a whole number"},
      {{CISTERN_SERVER, "--pool_bytes"}, 2, "--pool_bytes has no value"},
      {{CISTERN_SERVER, "--flagfile=x"}, 2, "there is no flag --flagfile"},
      {{CISTERN_CLI, "ls", "--no_such"}, 2, "cistern: there is no flag --no_such"},
      {{CISTERN_CLI, "ls", "--limit=x"}, 2, "cistern: --limit = 'x': give a whole number"},
      {{CISTERN_CLI, "ls", "--limit=-1"}, 2, "give a whole number, not negative"},
      {{CISTERN_CLI, "ls", "--deadline=5"}, 2, "give a duration with its unit"},
      {{CISTERN_BENCH, "replay", "--no_such"}, 1, "cistern-bench: there is no flag --no_such"},
      {{CISTERN_BENCH, "replay", "--calls=x"}, 1, "cistern-bench: --calls = 'x': give a whole"},
      {{CISTERN_BENCH, "replays"}, 1, "there is no command 'replays'; there are: evict, peers"},
      {{CISTERN_BENCH, "replay", "twice"}, 1, "'twice' is one word too many"},
      {{CISTERN_BENCH}, 1, "say what to measure"},
      {{CISTERN_BENCH, "replay", "--trace=a", "--workload=repo"}, 1, "give one of them"},
  };
  for (const Wrong& wrong : wrongs) {
    const Finished run = RunProgram(wrong.words);
    EXPECT_EQ(run.exit_code, wrong.exit_code) << wrong.says;
    EXPECT_THAT(run.err, HasSubstr(wrong.says));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    EXPECT_EQ(run.out, "");
  }
}

TEST(WordsTest, HelpIsAskedForAndNamesNoPathOfTheBuild) {
  for (const char* program : {CISTERN_SERVER, CISTERN_CLI, CISTERN_BENCH}) {
    const Finished help = RunProgram({program, "--help"});
    EXPECT_EQ(help.exit_code, 0) << program;
    EXPECT_THAT(help.out, StartsWith("cistern"));
    EXPECT_THAT(help.out, HasSubstr("\n  --"));
    EXPECT_THAT(help.out, Not(HasSubstr("cistern-bench: cistern-bench:")));
    EXPECT_THAT(help.out, Not(HasSubstr(CISTERN_SOURCE_DIR)));
    EXPECT_EQ(help.err, "");
  }
  const std::string of_replay = RunProgram({CISTERN_BENCH, "replay", "--help"}).out;
  EXPECT_THAT(of_replay, HasSubstr("  --calls=0\n"));
  EXPECT_THAT(of_replay, HasSubstr("  --json=false\n"));
  EXPECT_THAT(of_replay, Not(HasSubstr("  --workers")));
}

TEST(WordsTest, AValueMayFollowItsFlag) {
  const Finished run =
      RunProgram({CISTERN_SERVER, "--lanes", "3", "--nohuge_pages", "--check_config"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("\"lanes\": \"3\""));
  EXPECT_THAT(run.out, HasSubstr("\"huge_pages\": false"));
}

TEST(WordsTest, TheServerMakesItsSocketsDirectoryOrSaysHow) {
  const Scratch scratch;
  const std::string socket = scratch.Path("run") + "/node.sock";
  Process server({CISTERN_SERVER, "--unix_socket=" + socket, "--pool_bytes=1MiB", "--nopre_touch"},
                 scratch.Path("server"));
  Await("its socket", [&] { return !server.Running() || std::filesystem::exists(socket); });
  EXPECT_TRUE(server.Running()) << server.Err();
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait().exit_code, 0);

  const Finished refused =
      RunProgram({CISTERN_SERVER, "--unix_socket=/no/such/place.sock", "--pool_bytes=1MiB"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err,
              HasSubstr("unix_socket = '/no/such/place.sock': cannot make its directory"));
  EXPECT_THAT(refused.err, HasSubstr("--unix_socket=/tmp/cistern.sock"));
}

// `cmake --install BUILD --prefix DIR --component node`
TEST(WordsTest, WhatIsInstalledRuns) {
  const Scratch scratch;
  const std::string prefix = scratch.Path("usr");
  const Finished install = RunProgram(
      {CMAKE, "--install", CISTERN_BINARY_DIR, "--prefix", prefix, "--component", "node"});
  ASSERT_EQ(install.exit_code, 0) << install.err;
  const std::string example = prefix + "/share/cistern/cistern.example.json";
  const Finished check =
      RunProgram({prefix + "/bin/cistern-server", "--config=" + example, "--check_config"});
  EXPECT_EQ(check.exit_code, 0) << check.err;
  EXPECT_EQ(RunProgram({prefix + "/bin/cistern", "--version"}).exit_code, 0);
  const Finished bench = RunProgram(
      {prefix + "/bin/cistern-bench", "replay", "--workload=repo", "--layers=1", "--calls=2"});
  EXPECT_EQ(bench.exit_code, 0) << bench.err;  // with the server beside it

  std::ifstream in(prefix + "/lib/systemd/system/cistern-server.service");
  const std::string unit((std::istreambuf_iterator<char>(in)), {});
  EXPECT_THAT(unit, HasSubstr("ExecStart=" + prefix + "/bin/cistern-server --config="));
}

}  // namespace
}  // namespace cistern::cacheserver
