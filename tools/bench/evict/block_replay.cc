#include "tools/bench/evict/block_replay.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"

namespace cistern::tools {
namespace {

constexpr uint64_t kNever = 1ull << 40;

void Count(const base::ModelSpec& model, const BlockRequest& request, size_t index, bool hit,
           BlockReplay& replay) {
  const double cost = BlockCost(model, request, index);
  const uint32_t tokens = request.BlockTokens(index);
  ++replay.blocks;
  replay.tokens += tokens;
  replay.cost += cost;
  if (!hit) return;
  ++replay.hit_blocks;
  replay.hit_tokens += tokens;
  replay.saved_cost += cost;
}

// How many of the request's first blocks are there; each of them has been hit.
size_t HitPrefix(const BlockRequest& request, storage::KeyedPolicy& policy) {
  size_t hits = 0;
  while (hits < request.blocks.size() && policy.Contains(request.blocks[hits])) {
    policy.Hit(request.blocks[hits]);
    ++hits;
  }
  return hits;
}

// Writes the blocks from `first` on. One pin is enough: what it is on has the others for parents.
void Write(const base::ModelSpec& model, const BlockRequest& request, size_t first,
           uint64_t capacity, storage::KeyedPolicy& policy) {
  std::optional<uint64_t> last;
  if (first > 0) {
    last = request.blocks[first - 1];
    policy.Pin(*last);
  }
  for (size_t i = first; i < request.blocks.size(); ++i) {
    if (policy.size() >= capacity && !policy.Evict().has_value()) break;
    policy.Insert({.key = request.blocks[i],
                   .cost = BlockCost(model, request, i),
                   .bytes = kTraceBlockTokens * std::max<uint64_t>(model.token_bytes(), 1)},
                  last);
    policy.Pin(request.blocks[i]);
    if (last.has_value()) policy.Unpin(*last);
    last = request.blocks[i];
  }
  if (last.has_value()) policy.Unpin(*last);
}

// When each block that is asked for is asked for next, as the number of that use from 1 on; never:
// beyond all of these, the deeper the later, and no two the same.
std::vector<uint64_t> NextUses(const BlockTrace& trace) {
  uint64_t uses = 0;
  for (const BlockRequest& request : trace.requests) uses += request.blocks.size();
  std::vector<uint64_t> next_use(uses);
  std::vector<uint64_t> next_of_block(trace.num_blocks, 0);
  for (size_t r = trace.requests.size(); r-- > 0;) {
    const std::vector<uint32_t>& blocks = trace.requests[r].blocks;
    for (size_t i = blocks.size(); i-- > 0;) {
      --uses;
      uint64_t& next = next_of_block[blocks[i]];
      next_use[uses] = next != 0 ? next : kNever + i * next_use.size() + uses;
      next = uses + 1;
    }
  }
  return next_use;
}

}  // namespace

double BlockCost(const base::ModelSpec& model, const BlockRequest& request, size_t index) {
  const double tokens = request.BlockTokens(index);
  if (model.flops_per_token == 0) return tokens;
  const double depth = static_cast<double>(index) * kTraceBlockTokens;
  const double pairs = tokens * depth + tokens * (tokens + 1) / 2;
  return tokens * static_cast<double>(model.flops_per_token) +
         pairs * static_cast<double>(model.flops_per_token_pair);
}

BlockReplay ReplayBlocks(const BlockTrace& trace, const base::ModelSpec& model, uint64_t capacity,
                         storage::KeyedPolicy& policy) {
  BlockReplay replay;
  for (const BlockRequest& request : trace.requests) {
    const size_t hits = HitPrefix(request, policy);
    for (size_t i = 0; i < request.blocks.size(); ++i) Count(model, request, i, i < hits, replay);
    Write(model, request, hits, capacity, policy);
  }
  return replay;
}

BlockReplay ReplayBelady(const BlockTrace& trace, const base::ModelSpec& model, uint64_t capacity) {
  const std::vector<uint64_t> next_use = NextUses(trace);
  std::vector<uint64_t> cached(trace.num_blocks, 0);  // its next use; 0 = not there
  absl::btree_map<uint64_t, uint32_t> by_next_use;
  BlockReplay replay;
  size_t use = 0;
  for (const BlockRequest& request : trace.requests) {
    for (size_t i = 0; i < request.blocks.size(); ++i, ++use) {
      const uint32_t block = request.blocks[i];
      const bool hit = cached[block] != 0;
      Count(model, request, i, hit, replay);
      if (hit) by_next_use.erase(cached[block]);
      cached[block] = next_use[use];
      by_next_use.emplace(next_use[use], block);
      if (by_next_use.size() <= capacity) continue;
      const auto farthest = std::prev(by_next_use.end());
      cached[farthest->second] = 0;
      by_next_use.erase(farthest);
    }
  }
  return replay;
}

}  // namespace cistern::tools
