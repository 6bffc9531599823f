// The loop of every measurement: rounds of a path and of its limit, side by side, so that a noisy
// machine is noisy for both.
//
//   (prepare  sweep path*operations  sweep limit*operations  [stream]  check)*  the first not
//   counted
//
// In every other round the limit goes first.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "tools/bench/transfer/cold_memory.h"
#include "tools/bench/transfer/transfer_report.h"

namespace cistern::tools {

struct Comparison {
  uint64_t bytes = 0;       // of one operation
  uint32_t operations = 1;  // in a round
  uint32_t rounds = 5;
  // Each gets the operation's number, 0 to operations - 1. Only `path` and `limit` are timed.
  std::function<absl::Status()> prepare = nullptr;  // not timed
  std::function<absl::Status(uint32_t)> path;
  std::function<absl::Status(uint32_t)> limit;
  std::function<absl::Status()> stream = nullptr;   // all operations of a round at once
  std::function<absl::StatusOr<uint64_t>()> check;  // bytes that were right; DataLoss: wrong ones
  bool warm_up = true;                              // a round before, not counted
};

// Everything but the names. What any of the parts answers ends the run.
absl::StatusOr<TransferLine> Compare(const Comparison& what, CacheSweep& sweep);

// Operations of a round: enough to time small ones, no more memory than needed for large ones.
uint32_t OperationsFor(uint64_t bytes);

}  // namespace cistern::tools
