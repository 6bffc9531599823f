// Where room for a block of one size could come from when other sizes have it: the part of
// AsymmetricPools that looks over the whole arena.
#include <algorithm>
#include <iterator>

#include "storage/pool/asymmetric_pools.h"

namespace cistern::storage {

uint64_t AsymmetricPools::ReachableBlocks(PoolId pool) const {
  uint64_t blocks = 0;
  uint64_t run_bytes = 0;  // of neighbours that are free or can be cleared
  for (const auto& [offset, extent] : extents_.extents()) {
    if (extent.slab == kFreeExtent || slabs_[extent.slab].clearable()) {
      run_bytes += extent.bytes;
      continue;
    }
    blocks += BlocksIn(pool, run_bytes);
    run_bytes = 0;
    const Slab& slab = slabs_[extent.slab];
    if (slab.pool == pool) blocks += slab.capacity - slab.used + slab.evictable;
  }
  return blocks + BlocksIn(pool, run_bytes);
}

double AsymmetricPools::Loss(const Slab& slab, uint64_t worthless) const {
  const uint64_t nothing = worthless * slab.evictable;
  if (slab.priority_sum <= nothing) return 0;
  return static_cast<double>(slab.priority_sum - nothing) *
         static_cast<double>(pools_[slab.pool].counts.stride_bytes);
}

// Two ends move over the extents in address order: the right one takes an extent in, the left one
// gives up extents as long as the stretch stays large enough. Every shortest stretch is seen once.
std::optional<Window> AsymmetricPools::CheapestWindow(PoolId pool, uint64_t worthless,
                                                      uint32_t max_level) const {
  const uint64_t need = pools_[pool].counts.stride_bytes;
  const auto end = extents_.extents().end();
  auto left = extents_.extents().begin();
  auto best_begin = end;
  auto best_end = end;
  double best = 0;
  double loss = 0;
  uint64_t bytes = 0;
  auto loss_of = [&](const ExtentMap::Extent& e) {
    return e.slab == kFreeExtent ? 0.0 : Loss(slabs_[e.slab], worthless);
  };
  auto may_clear = [&](const Slab& slab) {
    return slab.pool != pool && slab.clearable() && slab.within(max_level);
  };
  for (auto right = left; right != end;) {
    const ExtentMap::Extent& extent = right->second;
    ++right;
    if (extent.slab != kFreeExtent && !may_clear(slabs_[extent.slab])) {
      left = right;
      loss = 0;
      bytes = 0;
      continue;
    }
    bytes += extent.bytes;
    loss += loss_of(extent);
    while (bytes - left->second.bytes >= need) {
      bytes -= left->second.bytes;
      loss -= loss_of(left->second);
      ++left;
    }
    if (bytes < need || (std::next(left) == right && left->second.slab == kFreeExtent))
      continue;  // nothing to clear
    const double per_byte = std::max(0.0, loss) / static_cast<double>(bytes);
    if (best_begin == end || per_byte < best) {
      best = per_byte;
      best_begin = left;
      best_end = right;
    }
  }
  if (best_begin == end) return std::nullopt;
  Window window{.bytes = 0, .owners = {}, .loss_per_byte = best};
  for (auto it = best_begin; it != best_end; ++it) {
    window.bytes += it->second.bytes;
    if (it->second.slab == kFreeExtent) continue;
    slabs_[it->second.slab].ForEachUsed(
        [&](Handle handle) { window.owners.push_back(table_.at(handle).owner); });
  }
  std::sort(window.owners.begin(), window.owners.end());
  window.owners.erase(std::unique(window.owners.begin(), window.owners.end()), window.owners.end());
  return window;
}

}  // namespace cistern::storage
