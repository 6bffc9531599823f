// Pools of blocks of different sizes that share one arena.
//
// Each block size has a pool. A pool cuts slabs out of the arena's free extents, hands out their
// blocks, and gives a slab back the moment its last block is freed; free neighbours merge, so that
// any pool can use the bytes next. A slab is cut to a whole number of the pool's blocks, about a
// 64th of the arena (4 MiB at most) and at least one block, so no bytes are lost inside it whatever
// the block size; when no free extent is that large the pool takes as many blocks as the largest
// one holds.
//
// The pools know nothing of objects. The store tells them which block belongs to which owner, what
// it is worth and whether its bytes may be copied elsewhere. When a pool is out, the others make
// room in two ways: GatherRoom moves blocks into holes of their own pools until a stretch is free,
// and nothing is lost; CheapestWindow says which stretch would be cheapest to clear by eviction.
//
// Cost     Allocate and Free are O(1) a block, plus O(log extents) when a slab is cut or given
// back;
//          GatherRoom is O(slabs) and what it moves
// Thread   one at a time
// Source   asymmetric pools with slab trading after AVMP (arXiv 2605.22416), without its
// destruction of live blocks
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "base/arena_layout.h"
#include "storage/arena.h"
#include "storage/pool/extent_map.h"
#include "storage/pool/page_table.h"
#include "storage/pool/slab.h"

namespace cistern::storage {

// A stretch of the arena that would be free if its owners were evicted.
struct Window {
  uint64_t bytes = 0;
  std::vector<uint32_t> owners;  // ascending, each once
  double loss_per_byte = 0;      // what would be lost, in the unit of priorities
};

struct PoolCounts {
  uint64_t block_bytes = 0;
  uint64_t stride_bytes = 0;  // block_bytes on a 16-byte boundary
  uint64_t slabs = 0;
  uint64_t blocks_used = 0;
  uint64_t blocks_free = 0;
  uint64_t blocks_evictable = 0;  // of those used
};

class AsymmetricPools {
 public:
  static constexpr uint32_t kMaxPools = 1024;
  static constexpr uint64_t kBlockAlign = 16;
  static constexpr uint64_t kSlabAlign = 128;

  // `arena` outlives the pools.
  explicit AsymmetricPools(Arena* arena);

  // The pool of this block size, made if it is new. InvalidArgument: zero. ResourceExhausted: too
  // many sizes.
  absl::StatusOr<PoolId> PoolFor(uint64_t block_bytes);
  size_t num_pools() const { return pools_.size(); }
  const PoolCounts& counts(PoolId pool) const { return pools_[pool].counts; }

  // How many blocks of this pool an empty arena would hold.
  uint64_t MaxBlocks(PoolId pool) const;
  // How many blocks Allocate would find, counted no further than `enough`. O(free extents), O(1)
  // when the pool's own slabs have them.
  uint64_t Supply(PoolId pool, uint32_t enough) const;
  bool CanAllocate(PoolId pool, uint32_t count) const { return Supply(pool, count) >= count; }
  // Takes up to `count` blocks from the pool's slabs and the free extents, appends them to
  // `handles` and returns how many. Nothing is evicted.
  uint32_t Allocate(PoolId pool, uint32_t count, std::vector<Handle>* handles);
  // A handle that names no block is left alone.
  void Free(Handle handle);
  // All of them; faster than one by one, as their places in memory are fetched side by side.
  void FreeAll(absl::Span<const Handle> handles);

  void SetOwner(Handle handle, uint32_t owner) { table_.at(handle).owner = owner; }
  // `priority` (below 2^47) if the block's owner may be evicted, 0 if it must stay. Its top bits
  // are its level (PriorityLevel).
  void SetPriority(Handle handle, uint64_t priority);

  // Whether the block's bytes may be copied elsewhere: its owner is known, and nobody reads or
  // writes them. A new block may not be moved.
  void SetMovable(Handle handle, bool movable);

  // Makes room for a block of `pool` without losing any: empties the stretch with the fewest bytes
  // to move, among those whose blocks may all move and fit elsewhere: into holes of their own
  // pools, or, for one of these pools, into free extents too small for the block that room is made
  // for. `move(from, to)` must copy the block's bytes and tell its owner; `from` is retired after
  // it, and `to` has its owner, priority and movability. Returns the bytes moved; 0: no such
  // stretch.
  uint64_t GatherRoom(PoolId pool, absl::FunctionRef<void(Handle from, Handle to)> move);

  // How many blocks Allocate could take if everything evictable were gone. O(slabs).
  uint64_t ReachableBlocks(PoolId pool) const;
  // The cheapest stretch of other pools' slabs to clear that makes room for a block of `pool`, if
  // clearing one stretch can, and nothing in it is of a level above `max_level`. `worthless` is the
  // priority at which a block is worth nothing. O(slabs), plus the blocks of the stretch.
  std::optional<Window> CheapestWindow(PoolId pool, uint64_t worthless,
                                       uint32_t max_level = kPriorityLevels - 1) const;

  const PageTable& table() const { return table_; }
  // Of a live handle.
  PoolId PoolOf(Handle handle) const { return slabs_[table_.at(handle).slab].pool; }
  base::BlockRef Ref(Handle handle) const {
    return {.handle = handle,
            .generation = table_.generation(handle),
            .offset = OffsetOf(table_.at(handle))};
  }
  // The handle behind a reference. InvalidArgument: there never was such a handle.
  // FailedPrecondition: the block has been freed since, or the reference's offset is not the
  // block's.
  absl::StatusOr<Handle> Resolve(const base::BlockRef& ref) const;

  uint64_t arena_bytes() const { return arena_bytes_; }
  uint64_t used_bytes() const { return used_bytes_; }            // blocks in use
  uint64_t evictable_bytes() const { return evictable_bytes_; }  // of those
  uint64_t free_bytes() const { return extents_.free_bytes() + free_block_bytes_; }
  uint64_t remainder_bytes() const { return arena_bytes_ - used_bytes_ - free_bytes(); }

  // Internal names the first that is broken: capacity conserved, every block's handle names it,
  // sums right.
  absl::Status CheckInvariants() const;

 private:
  struct Pool {
    PoolCounts counts;
    uint32_t slab_blocks = 0;         // how many blocks a slab is cut for, where there is room
    SlabId first_open = kFreeExtent;  // slabs with free blocks, oldest first
    SlabId last_open = kFreeExtent;
  };

  // Neighbouring slabs that can be emptied without loss.
  struct Stretch {
    std::vector<SlabId> slabs;           // in address order
    std::vector<uint64_t> free_extents;  // between them, by offset
    uint64_t moved_bytes = 0;
  };
  class StretchSearch;
  std::optional<Stretch> CheapestStretch(PoolId pool) const;
  bool EmptySlab(SlabId id, absl::FunctionRef<void(Handle from, Handle to)> move);

  // Bytes from the arena's first byte.
  uint64_t OffsetOf(const PageEntry& entry) const {
    const Slab& slab = slabs_[entry.slab];
    return slab.offset + entry.index * pools_[slab.pool].counts.stride_bytes;
  }
  void FreeOne(Handle handle);
  Handle NameBlock(SlabId id, uint32_t index);
  void LoosenRow(Slab& slab);
  void LoosenAnyRow();
  bool CutSlab(PoolId pool);
  void ReturnSlab(SlabId id);
  void LinkOpen(SlabId id);
  void UnlinkOpen(SlabId id);
  uint64_t BlocksIn(PoolId pool, uint64_t extent_bytes) const;
  double Loss(const Slab& slab, uint64_t worthless) const;
  absl::Status CheckSlab(SlabId id) const;
  absl::Status CheckPools() const;

  uint64_t arena_bytes_;
  uint64_t used_bytes_ = 0;
  uint64_t evictable_bytes_ = 0;
  uint64_t free_block_bytes_ = 0;
  PageTable table_;
  ExtentMap extents_;
  std::vector<Slab> slabs_;
  std::vector<SlabId> unused_slab_ids_;
  std::vector<uint64_t> held_;  // extents, while a stretch is emptied
  std::vector<Pool> pools_;
  absl::btree_map<uint64_t, PoolId> pool_by_size_;
};

}  // namespace cistern::storage
