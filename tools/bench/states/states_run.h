// Runs the cases: ours, step by step, and through a ring of 16, in turn in every round.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"

#include "tools/bench/states/states_case.h"
#include "tools/bench/states/states_report.h"

namespace cistern::tools {

struct StatesOptions {
  uint32_t rounds = 5;
  uint64_t region_bytes = 128ull << 20;  // of state, worked on in turn: what caches cannot hold
};

// DataLoss: a form differs from the float64 reference by more than it may.
absl::Status RunStates(const std::vector<StatesCase>& cases, const StatesOptions& options,
                       const std::function<void(const StatesLine&)>& print);

}  // namespace cistern::tools
