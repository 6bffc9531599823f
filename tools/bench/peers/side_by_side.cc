#include "tools/bench/peers/side_by_side.h"

#include <algorithm>
#include <numeric>

#include "base/status_macros.h"
#include "tools/bench/crew.h"
#include "tools/bench/samples.h"

namespace cistern::tools {
namespace {

absl::Status RunSide(const SideBySide& what, const Side& side, CacheSweep& sweep, Samples* gbps) {
  if (side.ready != nullptr) CISTERN_RETURN_IF_ERROR(side.ready());
  sweep.Sweep();
  CISTERN_ASSIGN_OR_RETURN(const absl::Duration took,
                           RunCrew(what.workers, [&](uint32_t worker) -> absl::Status {
                             for (uint32_t i = 0; i < what.operations; ++i)
                               CISTERN_RETURN_IF_ERROR(side.run(worker, i));
                             return absl::OkStatus();
                           }));
  const double bytes = static_cast<double>(what.bytes) * what.workers * what.operations;
  if (gbps != nullptr) gbps->Add(bytes / absl::ToDoubleNanoseconds(took));
  return side.check();
}

}  // namespace

absl::StatusOr<std::vector<double>> MeasureSides(const SideBySide& what, CacheSweep& sweep) {
  std::vector<Samples> gbps(what.sides.size());
  std::vector<size_t> order(what.sides.size());
  std::iota(order.begin(), order.end(), 0);
  for (uint32_t round = 0; round <= what.rounds; ++round) {
    if (what.prepare != nullptr) CISTERN_RETURN_IF_ERROR(what.prepare());
    for (const size_t side : order)
      CISTERN_RETURN_IF_ERROR(
          RunSide(what, what.sides[side], sweep, round > 0 ? &gbps[side] : nullptr));
    std::reverse(order.begin(), order.end());
  }
  std::vector<double> medians;
  medians.reserve(gbps.size());
  for (const Samples& samples : gbps) medians.push_back(samples.Median());
  return medians;
}

}  // namespace cistern::tools
