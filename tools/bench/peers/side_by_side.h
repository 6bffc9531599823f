// Several ways to do the same, in the same rounds, by one worker or by several at once.
//
//   (prepare (ready sweep run*workers*operations check) for each side)*   the first not counted
//
// In every other round the sides go in the opposite order. A side's time is from its first worker's
// start to its last one's end.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "tools/bench/transfer/cold_memory.h"

namespace cistern::tools {

struct Side {
  std::function<absl::Status()> ready = nullptr;  // not timed
  // Operation `operation` (0 to operations - 1) of worker `worker`, on the worker's own thread.
  std::function<absl::Status(uint32_t worker, uint32_t operation)> run;
  std::function<absl::Status()> check;  // of what has come; not timed
};

struct SideBySide {
  uint64_t bytes = 0;  // of one operation
  uint32_t workers = 1;
  uint32_t operations = 1;  // of each worker in a round
  uint32_t rounds = 5;
  std::function<absl::Status()> prepare = nullptr;  // before each round, not timed
  std::vector<Side> sides;
};

// GB/s of each side, medians over rounds. What any of the parts answers ends the run.
absl::StatusOr<std::vector<double>> MeasureSides(const SideBySide& what, CacheSweep& sweep);

}  // namespace cistern::tools
