// What a cache of a given size gives a block trace.
//
// A prompt's hits are its longest beginning whose blocks are all there. The blocks after it are
// then written, one for one victim; the prompt's own blocks stay while it is served, so a prompt
// that is longer than the cache is written in part.
#pragma once

#include <cstdint>

#include "base/model_spec.h"
#include "storage/policy/keyed_policy.h"
#include "tools/bench/evict/block_trace.h"

namespace cistern::tools {

struct BlockReplay {
  uint64_t blocks = 0;  // asked for
  uint64_t hit_blocks = 0;
  uint64_t tokens = 0;
  uint64_t hit_tokens = 0;
  double cost = 0;  // FLOPs to compute all that was asked for
  double saved_cost = 0;

  double hit_ratio() const { return static_cast<double>(hit_tokens) / static_cast<double>(tokens); }
  double cost_saved() const { return saved_cost / cost; }
};

// FLOPs to compute block `index` of a request, the blocks before it given. A model without FLOP
// figures costs 1 a token.
double BlockCost(const base::ModelSpec& model, const BlockRequest& request, size_t index);

// `policy` is fresh.
BlockReplay ReplayBlocks(const BlockTrace& trace, const base::ModelSpec& model, uint64_t capacity,
                         storage::KeyedPolicy& policy);

// Belady's optimum (MIN with bypass): of the cached blocks and the one that comes, the one whose
// next use is farthest goes, of several that are never used again the deepest. It knows the
// future. No schedule has more block hits, with or without the prefix rule; it keeps the rule by
// itself, because a block is never used without the blocks before it, so these are used next no
// later. Token hits and cost are those of this schedule, which need not be the most possible.
BlockReplay ReplayBelady(const BlockTrace& trace, const base::ModelSpec& model, uint64_t capacity);

}  // namespace cistern::tools
