// The run that loses nothing: a request starts when all the blocks that it will ever need are its
// own.
//
// First come, first served: while the first waiting request cannot have its final footprint, nobody
// behind it starts either. It runs prompt + generated ticks from its admission. One that cannot
// have its footprint though nothing else runs is rejected.
//
// Needs    a policy that does not evict (PolicyOptions::evict = false)
#pragma once

#include <cstdint>
#include <vector>

#include "tools/bench/pools/policy.h"
#include "tools/bench/pools/workload.h"

namespace cistern::tools {

struct AdmissionResult {
  uint64_t completed = 0;
  uint64_t rejected = 0;
  uint64_t makespan_ticks = 0;  // when the last one departs
  double mean_wait_ticks = 0;   // from arrival to admission, of those admitted
  double seconds = 0;
};

AdmissionResult RunAdmission(const std::vector<PoolRequest>& requests, PoolPolicy& policy);

}  // namespace cistern::tools
