#include "tools/bench/crew.h"

#include <algorithm>
#include <latch>
#include <thread>
#include <vector>

#include <time.h>

namespace cistern::tools {
namespace {

struct Turn {
  absl::Duration start, end;
  absl::Status status;
};

}  // namespace

absl::Duration MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

absl::StatusOr<absl::Duration> RunCrew(uint32_t workers,
                                       const std::function<absl::Status(uint32_t worker)>& run) {
  std::vector<Turn> turns(workers);
  std::latch go(workers);
  const auto work = [&](uint32_t worker) {
    go.arrive_and_wait();
    Turn& turn = turns[worker];
    turn.start = MonotonicNow();
    turn.status = run(worker);
    turn.end = MonotonicNow();
  };
  std::vector<std::thread> others;
  others.reserve(workers - 1);
  for (uint32_t worker = 1; worker < workers; ++worker) others.emplace_back(work, worker);
  work(0);
  for (std::thread& other : others) other.join();
  Turn all = turns[0];
  for (const Turn& turn : turns) {
    all.start = std::min(all.start, turn.start);
    all.end = std::max(all.end, turn.end);
    all.status.Update(turn.status);
  }
  if (!all.status.ok()) return all.status;
  return all.end - all.start;
}

}  // namespace cistern::tools
