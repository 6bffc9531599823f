// Every policy at every size, beside Belady's optimum.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/model_spec.h"
#include "tools/bench/evict/block_replay.h"
#include "tools/bench/evict/block_trace.h"

namespace cistern::tools {

struct EvictRun {
  std::string policy;
  double fraction = 0;    // of the trace's different blocks that fit
  uint64_t capacity = 0;  // blocks, one at least
  double alpha = 0;       // marconi's; 0 for the others
  BlockReplay replay;
  BlockReplay belady;
};

// value, lru, s3fifo and marconi at 5, 10, 25 and 50 %, by size. Marconi's alpha is, for each size,
// the one of 0, 0.1, 0.2, 0.5, 1 and 2 that saves the most cost: chosen in hindsight, where the
// paper looks at the start of the trace only.
std::vector<EvictRun> CompareEviction(const BlockTrace& trace, const base::ModelSpec& model);

// One JSON object a line: policy, fraction, hit_ratio, cost_saved, belady_hit_ratio; hit ratios of
// tokens, cost_saved of the FLOPs that all prompts cost without a cache; also alpha, blocks (the
// size), belady_cost_saved, block_hit_ratio and belady_block_hit_ratio.
std::string EvictRunsToJson(const std::vector<EvictRun>& runs);
std::string EvictRunsToTable(const std::vector<EvictRun>& runs);

}  // namespace cistern::tools
