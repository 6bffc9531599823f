// Room without loss: blocks of other pools are moved together until a stretch of the arena is free.
#include <algorithm>
#include <iterator>

#include "base/round.h"
#include "storage/pool/asymmetric_pools.h"

namespace cistern::storage {

// A stretch that grows to the right and shrinks from the left, and what it would take to empty it.
class AsymmetricPools::StretchSearch {
 public:
  using Place = ExtentMap::Map::const_iterator;

  // For a block of `need` bytes.
  StretchSearch(const AsymmetricPools& pools, uint64_t need)
      : pools_(pools), need_(need), of_(pools.pools_.size()), crumbs_(pools.pools_.size(), -1) {}

  int64_t bytes() const { return bytes_; }
  uint64_t moved_bytes() const { return static_cast<uint64_t>(moved_bytes_); }

  void Add(const ExtentMap::Extent& extent) { Change(extent, 1); }
  void Remove(const ExtentMap::Extent& extent) { Change(extent, -1); }
  void Clear() {
    of_.assign(of_.size(), {});
    slabs_ = bytes_ = moved_bytes_ = pools_without_room_ = 0;
  }

  // Whether there is something to empty and its blocks fit elsewhere. [begin, end) is the stretch.
  bool Feasible(Place begin, Place end) {
    if (slabs_ == 0 || pools_without_room_ > 1) return false;  // two could want the same extent
    if (pools_without_room_ == 0) return true;
    PoolId pool = 0;
    for (auto it = begin; it != end; ++it) {
      if (it->second.slab == kFreeExtent) continue;
      pool = pools_.slabs_[it->second.slab].pool;
      if (Lacks(pool) > 0) break;
    }
    int64_t room = CrumbsFor(pool);
    for (auto it = begin; it != end; ++it) {
      if (it->second.slab == kFreeExtent) room -= CrumbBlocks(it->second.bytes, pool);
    }
    return Lacks(pool) <= room;
  }

 private:
  // Within the stretch.
  struct Blocks {
    int64_t used = 0;
    int64_t free = 0;
  };

  // How many of the pool's blocks in the stretch find no hole of their own pool outside of it.
  int64_t Lacks(PoolId pool) const {
    const auto free = static_cast<int64_t>(pools_.pools_[pool].counts.blocks_free);
    return of_[pool].used - (free - of_[pool].free);
  }
  // An extent that has room for the block itself is no gain when it is spent on others.
  int64_t CrumbBlocks(uint64_t extent_bytes, PoolId pool) const {
    if (extent_bytes >= need_) return 0;
    return static_cast<int64_t>(extent_bytes /
                                base::RoundUp(pools_.pools_[pool].counts.stride_bytes, kSlabAlign));
  }
  // In all of the arena; counted once a search and pool.
  int64_t CrumbsFor(PoolId pool) {
    if (crumbs_[pool] >= 0) return crumbs_[pool];
    crumbs_[pool] = 0;
    for (const auto& [bytes, offset] : pools_.extents_.free_by_size())
      crumbs_[pool] += CrumbBlocks(bytes, pool);
    return crumbs_[pool];
  }

  void Change(const ExtentMap::Extent& extent, int sign) {
    bytes_ += sign * static_cast<int64_t>(extent.bytes);
    if (extent.slab == kFreeExtent) return;
    const Slab& slab = pools_.slabs_[extent.slab];
    const auto stride = static_cast<int64_t>(pools_.pools_[slab.pool].counts.stride_bytes);
    slabs_ += sign;
    moved_bytes_ += sign * stride * slab.used;
    pools_without_room_ -= Lacks(slab.pool) > 0 ? 1 : 0;
    of_[slab.pool].used += sign * static_cast<int64_t>(slab.used);
    of_[slab.pool].free += sign * static_cast<int64_t>(slab.capacity - slab.used);
    pools_without_room_ += Lacks(slab.pool) > 0 ? 1 : 0;
  }

  const AsymmetricPools& pools_;
  uint64_t need_;
  std::vector<Blocks> of_;       // by pool
  std::vector<int64_t> crumbs_;  // by pool; -1: not counted yet
  int64_t slabs_ = 0;
  int64_t bytes_ = 0;
  int64_t moved_bytes_ = 0;
  int64_t pools_without_room_ = 0;
};

// Two ends move over the extents in address order. A shorter stretch is easier to empty than a
// longer one that contains it, so only the shortest that are large enough are looked at.
std::optional<AsymmetricPools::Stretch> AsymmetricPools::CheapestStretch(PoolId pool) const {
  const uint64_t need = pools_[pool].counts.stride_bytes;
  const auto end = extents_.extents().end();
  auto left = extents_.extents().begin();
  auto best_begin = end;
  auto best_end = end;
  uint64_t best = 0;
  StretchSearch stretch(*this, need);
  for (auto right = left; right != end;) {
    const ExtentMap::Extent& extent = right->second;
    ++right;
    if (extent.slab != kFreeExtent) {
      const Slab& slab = slabs_[extent.slab];
      // What one slab's holes would gain its own pool, it has already.
      if (slab.pool == pool || slab.movable != slab.used) {
        left = right;
        stretch.Clear();
        continue;
      }
    }
    stretch.Add(extent);
    while (static_cast<uint64_t>(stretch.bytes()) - left->second.bytes >= need) {
      stretch.Remove(left->second);
      ++left;
    }
    if (static_cast<uint64_t>(stretch.bytes()) < need) continue;
    if (best_begin != end && stretch.moved_bytes() >= best) continue;
    if (!stretch.Feasible(left, right)) continue;
    best = stretch.moved_bytes();
    best_begin = left;
    best_end = right;
  }
  if (best_begin == end) return std::nullopt;
  Stretch found{.slabs = {}, .free_extents = {}, .moved_bytes = best};
  for (auto it = best_begin; it != best_end; ++it) {
    if (it->second.slab == kFreeExtent) {
      found.free_extents.push_back(it->first);
    } else {
      found.slabs.push_back(it->second.slab);
    }
  }
  return found;
}

// False when not all blocks could move.
bool AsymmetricPools::EmptySlab(SlabId id, absl::FunctionRef<void(Handle, Handle)> move) {
  const PoolId pool = slabs_[id].pool;
  std::vector<Handle> blocks;
  blocks.reserve(slabs_[id].used);
  slabs_[id].ForEachUsed([&](Handle handle) { blocks.push_back(handle); });
  std::vector<Handle> to;
  for (const Handle from : blocks) {
    to.clear();
    if (Allocate(pool, 1, &to) == 0) {  // the search has counted the holes, but not spent handles
      slabs_[id].closing = false;
      if (!slabs_[id].full()) LinkOpen(id);
      return false;
    }
    const PageEntry& entry = table_.at(from);
    SetOwner(to[0], entry.owner);
    SetPriority(to[0], entry.priority);
    move(from, to[0]);
    SetMovable(to[0], true);
    Free(from);
  }
  return true;
}

uint64_t AsymmetricPools::GatherRoom(PoolId pool,
                                     absl::FunctionRef<void(Handle from, Handle to)> move) {
  // What is free elsewhere is what it lives on, and a moved block has two handles for a moment.
  const uint64_t own_free = pools_[pool].counts.blocks_free * pools_[pool].counts.stride_bytes;
  if (free_block_bytes_ + extents_.free_bytes() == own_free || table_.available() == 0) return 0;
  const std::optional<Stretch> stretch = CheapestStretch(pool);
  if (!stretch.has_value()) return 0;
  // Blocks must go neither into the stretch nor where there is room already.
  held_ = stretch->free_extents;
  for (auto it = extents_.free_by_size().lower_bound({pools_[pool].counts.stride_bytes, 0});
       it != extents_.free_by_size().end(); ++it)
    held_.push_back(it->second);
  std::sort(held_.begin(), held_.end());
  held_.erase(std::unique(held_.begin(), held_.end()), held_.end());
  for (const uint64_t offset : held_) extents_.Hold(offset);
  for (const SlabId id : stretch->slabs) {
    Slab& slab = slabs_[id];
    if (!slab.full()) UnlinkOpen(id);
    slab.closing = true;
  }
  bool empty = true;
  for (const SlabId id : stretch->slabs) empty = EmptySlab(id, move) && empty;
  for (const uint64_t offset : held_) extents_.Give(offset);
  held_.clear();
  return empty ? stretch->moved_bytes : 0;
}

}  // namespace cistern::storage
