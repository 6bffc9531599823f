// Room without loss: blocks of other pools are moved together until a stretch of the arena is free.
#include <iterator>

#include "storage/pool/asymmetric_pools.h"

namespace cistern::storage {

// A stretch that grows to the right and shrinks from the left, and what it would take to empty it.
class AsymmetricPools::StretchSearch {
 public:
  explicit StretchSearch(const AsymmetricPools& pools) : pools_(pools), of_(pools.pools_.size()) {}

  uint64_t bytes() const { return bytes_; }
  uint64_t moved_bytes() const { return moved_bytes_; }
  // The blocks in it fit into what their pools have free outside of it, and there is something to
  // empty.
  bool feasible() const { return slabs_ > 0 && pools_without_room_ == 0; }

  void Add(const Extent& extent) { Change(extent, 1); }
  void Remove(const Extent& extent) { Change(extent, -1); }
  void Clear() { *this = StretchSearch(pools_); }
  StretchSearch& operator=(StretchSearch&& other) noexcept {
    of_ = std::move(other.of_);
    slabs_ = other.slabs_;
    bytes_ = other.bytes_;
    moved_bytes_ = other.moved_bytes_;
    pools_without_room_ = other.pools_without_room_;
    return *this;
  }

 private:
  // Within the stretch.
  struct Blocks {
    int64_t used = 0;
    int64_t free = 0;
  };

  bool LacksRoom(PoolId pool) const {
    const auto free = static_cast<int64_t>(pools_.pools_[pool].counts.blocks_free);
    return of_[pool].used > free - of_[pool].free;
  }

  void Change(const Extent& extent, int sign) {
    bytes_ += sign * static_cast<int64_t>(extent.bytes);
    if (extent.slab == kFreeExtent) return;
    const Slab& slab = pools_.slabs_[extent.slab];
    const auto stride = static_cast<int64_t>(pools_.pools_[slab.pool].counts.stride_bytes);
    slabs_ += sign;
    moved_bytes_ += sign * stride * slab.used;
    pools_without_room_ -= LacksRoom(slab.pool) ? 1 : 0;
    of_[slab.pool].used += sign * static_cast<int64_t>(slab.used);
    of_[slab.pool].free += sign * static_cast<int64_t>(slab.capacity - slab.used);
    pools_without_room_ += LacksRoom(slab.pool) ? 1 : 0;
  }

  const AsymmetricPools& pools_;
  std::vector<Blocks> of_;  // by pool
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
  StretchSearch stretch(*this);
  for (auto right = left; right != end;) {
    const Extent& extent = right->second;
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
    while (stretch.bytes() - left->second.bytes >= need) {
      stretch.Remove(left->second);
      ++left;
    }
    if (stretch.bytes() < need || !stretch.feasible()) continue;
    if (best_begin != end && stretch.moved_bytes() >= best) continue;
    best = stretch.moved_bytes();
    best_begin = left;
    best_end = right;
  }
  if (best_begin == end) return std::nullopt;
  Stretch found{.slabs = {}, .moved_bytes = best};
  for (auto it = best_begin; it != best_end; ++it) {
    if (it->second.slab != kFreeExtent) found.slabs.push_back(it->second.slab);
  }
  return found;
}

void AsymmetricPools::EmptySlab(SlabId id, absl::FunctionRef<void(Handle, Handle)> move) {
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
      return;
    }
    const PageEntry& entry = table_.at(from);
    SetOwner(to[0], entry.owner);
    SetPriority(to[0], entry.priority);
    move(from, to[0]);
    SetMovable(to[0], true);
    Free(from);
  }
}

uint64_t AsymmetricPools::GatherRoom(PoolId pool,
                                     absl::FunctionRef<void(Handle from, Handle to)> move) {
  // Holes of other pools are what it lives on, and a moved block has two handles for a moment.
  const uint64_t own_free = pools_[pool].counts.blocks_free * pools_[pool].counts.stride_bytes;
  if (free_block_bytes_ == own_free || table_.available() == 0) return 0;
  const std::optional<Stretch> stretch = CheapestStretch(pool);
  if (!stretch.has_value()) return 0;
  for (const SlabId id : stretch->slabs) {
    Slab& slab = slabs_[id];
    if (!slab.full()) UnlinkOpen(id);
    slab.closing = true;
  }
  for (const SlabId id : stretch->slabs) EmptySlab(id, move);
  return stretch->moved_bytes;
}

}  // namespace cistern::storage
