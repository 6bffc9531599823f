// What `cistern-bench replay` leaves when it is stopped from outside: nothing.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/integration/node_under_test.h"

namespace cistern::cacheserver {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class BenchStopTest : public testing::Test {
 protected:
  BenchStopTest() {
    fs::create_directory(scratch_.Path("tmp"));
    setenv("TMPDIR", scratch_.Path("tmp").c_str(), 1);
  }
  ~BenchStopTest() override { unsetenv("TMPDIR"); }

  std::unique_ptr<Process> Bench(const std::vector<std::string>& more) {
    std::vector<std::string> words = {CISTERN_BENCH, "replay", "--workload=repo", "--pool=64MiB"};
    words.insert(words.end(), more.begin(), more.end());
    return std::make_unique<Process>(words, scratch_.Path(absl::StrCat("bench", ++runs_)));
  }

  // Its own folders in TMPDIR.
  std::vector<std::string> Folders() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(scratch_.Path("tmp")))
      found.push_back(entry.path().string());
    return found;
  }

  // The process that serves in one of these folders, or 0. A process that ended has no command
  // line.
  pid_t Server() const {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream in(entry.path() / "cmdline");
      std::string line;
      std::getline(in, line);
      if (absl::StrContains(line, "--unix_socket=" + scratch_.Path("tmp")))
        return std::stoi(entry.path().filename());
    }
    return 0;
  }

  // A bench in the middle of its replay: the node answers.
  std::unique_ptr<Process> RunningBench(const std::vector<std::string>& more = {}) {
    std::unique_ptr<Process> bench = Bench(more);
    Await("the replay",
          [&] { return !bench->Running() || absl::StrContains(bench->Err(), "replaying"); });
    EXPECT_TRUE(bench->Running()) << bench->Err();
    EXPECT_NE(Server(), 0);
    EXPECT_THAT(Folders(), SizeIs(1));
    return bench;
  }

  Scratch scratch_;
  int runs_ = 0;
};

TEST_F(BenchStopTest, ASignalEndsTheNodeAndRemovesTheFolder) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::unique_ptr<Process> bench = RunningBench();
    bench->Signal(signal);
    EXPECT_EQ(bench->Wait().exit_code, 128 + signal);
    EXPECT_EQ(Server(), 0);
    EXPECT_THAT(Folders(), IsEmpty());
  }
}

TEST_F(BenchStopTest, AKilledBenchTakesItsNodeAlongAndTheNextRunRemovesTheFolder) {
  const std::unique_ptr<Process> bench = RunningBench();
  bench->Signal(SIGKILL);
  EXPECT_EQ(bench->Wait().signal, SIGKILL);
  Await("the node's end", [this] { return Server() == 0; });
  EXPECT_THAT(Folders(), SizeIs(1));

  const std::unique_ptr<Process> running = RunningBench();  // has removed it, as it has one folder
  const std::vector<std::string> before = Folders();
  EXPECT_EQ(Bench({"--layers=1", "--calls=1"})->Wait().exit_code, 0);
  EXPECT_EQ(Folders(), before);  // that of a run that lives stays
}

TEST_F(BenchStopTest, ANodeThatDiesOnTheWayIsCalledGone) {
  const std::unique_ptr<Process> bench = RunningBench({"--layers=4"});
  kill(Server(), SIGKILL);
  const Finished finished = bench->Wait();
  EXPECT_EQ(finished.exit_code, 3) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("node: gone: UNAVAILABLE"));
  EXPECT_THAT(finished.out, HasSubstr("first plan"));
  EXPECT_THAT(Folders(), IsEmpty());
}

TEST_F(BenchStopTest, ANodeThatEndsWithoutAWordIsExplained) {
  const Finished bench = Bench({"--server=/bin/false"})->Wait();
  EXPECT_EQ(bench.exit_code, 1);
  EXPECT_THAT(bench.err, HasSubstr("stopped at once, exit code 1; it wrote no message"));
  EXPECT_THAT(bench.err, HasSubstr("set TMPDIR"));
  EXPECT_THAT(Folders(), IsEmpty());
}

TEST_F(BenchStopTest, AServerThatIsNotThereIsNamed) {
  const Finished bench = Bench({"--server=/no/such/server"})->Wait();
  EXPECT_EQ(bench.exit_code, 1);
  EXPECT_THAT(bench.err, HasSubstr("cannot start '/no/such/server': No such file"));
}

}  // namespace
}  // namespace cistern::cacheserver
