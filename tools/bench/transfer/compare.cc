#include "tools/bench/transfer/compare.h"

#include <algorithm>

#include "absl/time/clock.h"

#include "base/status_macros.h"

namespace cistern::tools {
namespace {

constexpr uint64_t kRoundBytes = 16ull << 20;
constexpr uint64_t kMaxOperations = 64;

// The wall clock may be set meanwhile.
absl::Duration Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

absl::Status TimeEach(const Comparison& what, const std::function<absl::Status(uint32_t)>& run,
                      Rounds* rounds) {
  for (uint32_t i = 0; i < what.operations; ++i) {
    const absl::Duration start = Now();
    CISTERN_RETURN_IF_ERROR(run(i));
    if (rounds != nullptr) rounds->Add(what.bytes, Now() - start);
  }
  if (rounds != nullptr) rounds->End();
  return absl::OkStatus();
}

absl::Status TimeStream(const Comparison& what, Rounds* rounds) {
  const absl::Duration start = Now();
  CISTERN_RETURN_IF_ERROR(what.stream());
  if (rounds == nullptr) return absl::OkStatus();
  rounds->Add(what.bytes * what.operations, Now() - start);
  rounds->End();
  return absl::OkStatus();
}

}  // namespace

uint32_t OperationsFor(uint64_t bytes) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(kRoundBytes / bytes, 1, kMaxOperations));
}

absl::StatusOr<TransferLine> Compare(const Comparison& what, CacheSweep& sweep) {
  Rounds path, limit, stream;
  TransferLine line{.bytes = what.bytes};
  const uint32_t first = what.warm_up ? 0 : 1;
  for (uint32_t round = first; round <= what.rounds; ++round) {
    if (what.prepare != nullptr) CISTERN_RETURN_IF_ERROR(what.prepare());
    const bool counts = round > 0;
    for (const bool limits : {round % 2 == 0, round % 2 != 0}) {
      sweep.Sweep();
      Rounds& rounds = limits ? limit : path;
      CISTERN_RETURN_IF_ERROR(
          TimeEach(what, limits ? what.limit : what.path, counts ? &rounds : nullptr));
    }
    if (what.stream != nullptr) {
      sweep.Sweep();
      CISTERN_RETURN_IF_ERROR(TimeStream(what, counts ? &stream : nullptr));
    }
    CISTERN_ASSIGN_OR_RETURN(const uint64_t right, what.check());
    line.verified_bytes += right;
  }
  line.rounds = path.count();
  line.operations = line.rounds * what.operations;
  line.gbps = path.MedianGbps();
  line.p50_us = path.P50Us();
  line.p99_us = path.P99Us();
  line.limit_gbps = limit.MedianGbps();
  line.stream_gbps = stream.count() > 0 ? stream.MedianGbps() : 0;
  return line;
}

}  // namespace cistern::tools
