// Work that goes on for CISTERN_SOAK_SECONDS, or 60, while the node is killed and stopped, workers
// are killed and stopped, and memory is too small for what they publish: no row is ever wrong,
// nothing stays held, and memory does not grow. --seed=N repeats the choices, if not the moments.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <unistd.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/fault/stuck/crowd.h"
#include "tests/fault/stuck/stuck_node.h"
#include "tests/model/seed.h"

namespace cistern::stuck {
namespace {

using cacheserver::Process;

// Of which memory holds a tenth, and the disk a half.
constexpr uint32_t kTexts = 200;

absl::Duration SoakTime() {
  const char* value = std::getenv("CISTERN_SOAK_SECONDS");  // NOLINT(concurrency-mt-unsafe)
  return absl::Seconds(value == nullptr ? 60 : std::atoi(value));
}

uint64_t ResidentBytes(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/statm");
  uint64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// The sanitizers keep what is freed for a while, by far more than the node.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kResidentBytesTell = false;
#else
constexpr bool kResidentBytesTell = true;
#endif

// What there is when things have settled, and the most after that.
class Growth {
 public:
  void Add(uint64_t bytes, bool settled) {
    (settled ? after_ : before_) = std::max(settled ? after_ : before_, bytes);
  }
  bool Steady() const { return after_ <= before_ + before_ / 4 + (16 << 20); }
  uint64_t before() const { return before_; }
  uint64_t after() const { return after_; }

 private:
  uint64_t before_ = 0, after_ = 0;
};

class Soak : public testing::Test {
 protected:
  Soak()
      : node_({"--pool_bytes=8MiB", "--disk_path=SCRATCHdisk", "--disk_max_bytes=64MiB"}),
        mapped_(node_.options(Carrier::kMapped), {}, 1, seed_ + 1, kTexts),
        copied_(node_.options(Carrier::kCopied), {}, 1, seed_ + 2, kTexts),
        tcp_(node_.options(Carrier::kTcp), {}, 1, seed_ + 3, kTexts) {}

  // Something bad, then a while in peace.
  void Trouble() {
    const absl::Duration moment = absl::Milliseconds(random_() % 300);
    switch (random_() % 4) {
      case 0:
        node_.node().Stop(SIGKILL);
        absl::SleepFor(moment);
        node_.node().Start();
        ++node_kills_;
        break;
      case 1:
        node_.node().process().Signal(SIGSTOP);
        absl::SleepFor(moment * 2);
        node_.Thaw();
        ++node_stops_;
        break;
      case 2:
        worker_->Signal(SIGSTOP);
        absl::SleepFor(moment);
        worker_->Signal(SIGCONT);
        ++worker_stops_;
        break;
      default:
        worker_->Signal(SIGKILL);
        EXPECT_EQ(worker_->Wait().signal, SIGKILL) << "3: rows were wrong";
        NewWorker();
        ++worker_kills_;
    }
  }
  void NewWorker() {
    const Carrier carrier = random_() % 2 == 0 ? Carrier::kMapped : Carrier::kTcp;
    worker_ =
        std::make_unique<Process>(std::vector<std::string>{STUCK_WORKER, node_.address(carrier),
                                                           std::to_string(random_() % 1000)},
                                  node_.node().Path("worker"));
  }

  const uint64_t seed_ = model_test::GivenSeed().value_or(15);
  std::mt19937_64 random_{seed_};
  StuckNode node_;
  Crowd mapped_, copied_, tcp_;
  std::unique_ptr<Process> worker_;
  uint64_t node_kills_ = 0, node_stops_ = 0, worker_kills_ = 0, worker_stops_ = 0;
};

TEST_F(Soak, EndsWithNothingWrongAndNothingHeld) {
  SCOPED_TRACE("repeat with --seed=" + std::to_string(seed_));
  const absl::Time start = absl::Now(), end = start + SoakTime();
  Growth ours, node;
  NewWorker();
  for (int round = 0; absl::Now() < end && !HasFailure(); ++round) {
    absl::SleepFor(absl::Milliseconds(500 + random_() % 1500));
    const bool settled = absl::Now() > start + SoakTime() / 3;
    ours.Add(ResidentBytes(getpid()), settled);
    node.Add(ResidentBytes(node_.node().process().pid()), settled);
    Trouble();
  }
  if (!worker_->Running()) NewWorker();  // it found no node when it started
  for (Crowd* crowd : {&mapped_, &copied_, &tcp_}) crowd->AwaitGoodTurns("at the end");
  worker_->Signal(SIGKILL);
  Tally all;
  for (Crowd* crowd : {&mapped_, &copied_, &tcp_}) {
    const Tally tally = crowd->Stop();
    std::cout << tally.ToString() << "\n";
    EXPECT_GT(tally.reused, 0u);
    all.Add(tally);
  }
  std::cout << node_kills_ << " kills and " << node_stops_ << " stops of the node, "
            << worker_kills_ << " and " << worker_stops_
            << " of a worker; resident bytes in the first third and after: "
            << "here " << ours.before() << " and " << ours.after() << ", the node " << node.before()
            << " and " << node.after() << "\n";
  EXPECT_EQ(all.wrong_rows, 0u);
  EXPECT_TRUE(ours.Steady() || !kResidentBytesTell);
  EXPECT_TRUE(node.Steady() || !kResidentBytesTell);
  node_.ExpectNothingHeld();
  const cacheserver::Finished verified = node_.node().Cli({"verify"});
  EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  const cacheserver::Finished stopped = node_.node().Stop(SIGTERM);
  EXPECT_EQ(stopped.exit_code, 0) << stopped.err;
}

}  // namespace
}  // namespace cistern::stuck
