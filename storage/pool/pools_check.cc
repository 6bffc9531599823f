// What must always hold of the pools.
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/pool/asymmetric_pools.h"

namespace cistern::storage {

absl::Status AsymmetricPools::CheckSlab(SlabId id) const {
  const Slab& slab = slabs_[id];
  const uint64_t stride = pools_[slab.pool].counts.stride_bytes;
  auto broken = [&](absl::string_view what) {
    return absl::InternalError(absl::StrCat("slab ", id, " at ", slab.offset, ": ", what));
  };
  const auto extent = extents_.extents().find(slab.offset);
  if (extent == extents_.extents().end() || extent->second.slab != id ||
      extent->second.bytes != slab.bytes) {
    return broken("its extent is not its own");
  }
  if (slab.offset % kSlabAlign != 0 || slab.bytes < slab.capacity * stride)
    return broken("it is cut wrongly");
  if (slab.used == 0) return broken("it is empty and was not given back");
  uint32_t used = 0;
  uint32_t evictable = 0;
  uint32_t movable = 0;
  uint64_t sum = 0;
  std::array<uint32_t, kPriorityLevels> levels = {};
  if (slab.slots.size() != (slab.bound() ? 0 : slab.capacity))
    return broken("its blocks' handles are kept wrongly");
  for (uint32_t i = 0; i < slab.capacity; ++i) {
    if (slab.free.IsFree(i)) {
      if (slab.bound() && table_.IsLive(slab.HandleOf(i))) return broken("a free block is named");
      continue;
    }
    ++used;
    const Handle handle = slab.HandleOf(i);
    if (!table_.IsLive(handle)) return broken("it names a handle that is not live");
    const PageEntry& entry = table_.at(handle);
    if (entry.slab != id || entry.index != i) return broken("the page table says otherwise");
    if (entry.movable != 0) {
      ++movable;
      if (entry.owner == 0) return broken("a block that nobody owns may be moved");
    }
    if (entry.priority != 0) {
      ++evictable;
      sum += entry.priority;
      ++levels[PriorityLevel(entry.priority)];
      if (entry.owner == 0) return broken("a block that nobody owns may be evicted");
    }
  }
  if (used != slab.used) return broken("its used blocks are counted wrongly");
  if (movable != slab.movable) return broken("its movable blocks are counted wrongly");
  if (slab.closing) return broken("it was left half emptied");
  if (evictable != slab.evictable || sum != slab.priority_sum || levels != slab.levels)
    return broken("its value is summed wrongly");
  FreeBlocks free = slab.free;  // by its own account there are as many as there should be
  for (uint32_t i = slab.used; i < slab.capacity; ++i) {
    if (!free.any()) return broken("a free block cannot be found");
    free.Take();
  }
  if (free.any()) return broken("a block is free that is none");
  return absl::OkStatus();
}

absl::Status AsymmetricPools::CheckPools() const {
  std::vector<PoolCounts> seen(pools_.size());
  std::vector<uint64_t> open(pools_.size());
  for (const Slab& slab : slabs_) {
    if (slab.capacity == 0) continue;
    PoolCounts& counts = seen[slab.pool];
    ++counts.slabs;
    counts.blocks_used += slab.used;
    counts.blocks_free += slab.capacity - slab.used;
    counts.blocks_evictable += slab.evictable;
    open[slab.pool] += slab.full() ? 0 : 1;
  }
  for (size_t i = 0; i < pools_.size(); ++i) {
    const PoolCounts& have = pools_[i].counts;
    if (seen[i].slabs != have.slabs || seen[i].blocks_used != have.blocks_used ||
        seen[i].blocks_free != have.blocks_free ||
        seen[i].blocks_evictable != have.blocks_evictable) {
      return absl::InternalError(
          absl::StrCat("pool of ", have.block_bytes, " B: its slabs or blocks are miscounted"));
    }
    uint64_t linked = 0;
    for (SlabId id = pools_[i].first_open; id != kFreeExtent && linked <= open[i];
         id = slabs_[id].next)
      ++linked;
    if (linked != open[i]) {
      return absl::InternalError(
          absl::StrCat("pool of ", have.block_bytes, " B: not all slabs with room are listed"));
    }
  }
  return absl::OkStatus();
}

absl::Status AsymmetricPools::CheckInvariants() const {
  CISTERN_RETURN_IF_ERROR(extents_.CheckInvariants());
  uint64_t used_bytes = 0;
  uint64_t free_block_bytes = 0;
  uint64_t remainder_bytes = 0;
  uint64_t live = 0;
  uint64_t bound_free = 0;
  uint64_t evictable_bytes = 0;
  for (SlabId id = 0; id < slabs_.size(); ++id) {
    const Slab& slab = slabs_[id];
    if (slab.capacity == 0) continue;
    CISTERN_RETURN_IF_ERROR(CheckSlab(id));
    const uint64_t stride = pools_[slab.pool].counts.stride_bytes;
    used_bytes += slab.used * stride;
    evictable_bytes += slab.evictable * stride;
    free_block_bytes += (slab.capacity - slab.used) * stride;
    remainder_bytes += slab.bytes - slab.capacity * stride;
    live += slab.used;
    if (slab.bound()) bound_free += slab.capacity - slab.used;
  }
  CISTERN_RETURN_IF_ERROR(CheckPools());
  if (live != table_.live())
    return absl::InternalError("page table: live handles and used blocks differ");
  CISTERN_RETURN_IF_ERROR(table_.CheckInvariants(bound_free));
  if (used_bytes != used_bytes_ || evictable_bytes != evictable_bytes_ ||
      free_block_bytes != free_block_bytes_) {
    return absl::InternalError("pools: bytes are summed wrongly");
  }
  if (used_bytes + free_block_bytes + extents_.free_bytes() + remainder_bytes != arena_bytes_) {
    return absl::InternalError("pools: used, free and remainder do not add up to the arena");
  }
  return absl::OkStatus();
}

}  // namespace cistern::storage
