// The paper's run: requests come when they come, whatever the pool holds.
//
// At its arrival a request asks for the pages of its prompt, one call for each attention layer, and
// then for its states, one call each. Every 16th token asks for one more page for each attention
// layer. At arrival + prompt + generated it departs. A call that fails is one OOM, and the request
// goes on without those blocks. At one tick departures come first, then growth, then arrivals, each
// by request number.
//
// Source   An Xuan Nguyen, arXiv 2605.22416, section on the benchmark
#pragma once

#include <cstdint>
#include <vector>

#include "tools/bench/pools/policy.h"
#include "tools/bench/pools/workload.h"

namespace cistern::tools {

struct OpenLoopResult {
  uint64_t oom = 0;        // failed calls
  uint64_t completed = 0;  // requests without a failed call
  uint64_t intact = 0;     // of those, requests that lost no block while they ran
  double seconds = 0;      // in the loop; the events are ready before it starts
};

OpenLoopResult RunOpenLoop(const std::vector<PoolRequest>& requests, PoolPolicy& policy);

}  // namespace cistern::tools
