// A piece of the arena that holds blocks of one pool: as many whole blocks as it was cut for.
//
// Taking and giving a block is O(1).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "storage/pool/extent_map.h"
#include "storage/pool/free_blocks.h"
#include "storage/pool/page_table.h"

namespace cistern::storage {

using PoolId = uint32_t;

// What is of a lower level always goes before what is of a higher one.
inline constexpr uint32_t kPriorityLevelShift = 44;
inline constexpr uint32_t kPriorityLevels = 8;
constexpr uint32_t PriorityLevel(uint64_t priority) {
  return static_cast<uint32_t>(priority >> kPriorityLevelShift);
}

struct Slab {
  static constexpr uint32_t kMaxBlocks = FreeBlocks::kMaxBlocks;

  PoolId pool = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;     // the extent's
  uint32_t capacity = 0;  // blocks; 0: this slab id is not in use
  uint32_t used = 0;
  uint32_t movable = 0;       // blocks in use whose bytes may be copied elsewhere now
  uint32_t evictable = 0;     // blocks in use whose objects may go now
  uint64_t priority_sum = 0;  // over the evictable blocks
  std::array<uint32_t, kPriorityLevels> levels = {};  // evictable blocks by their priority's level
  bool closing = false;           // it is being emptied: its free blocks are not handed out
  SlabId previous = kFreeExtent;  // in the pool's list of slabs with free blocks
  SlabId next = kFreeExtent;
  FreeBlocks free;
  Handle first_handle = kNoHandle;  // of its row; none: `slots` has its blocks' handles
  std::vector<Handle> slots;        // [capacity]: what names the block, where it is not free

  bool bound() const { return first_handle != kNoHandle; }  // has a row
  // What names the block; of one that is free, only where it has a row.
  Handle HandleOf(uint32_t index) const { return bound() ? first_handle + index : slots[index]; }
  bool full() const { return used == capacity; }
  bool clearable() const { return used == evictable; }  // nothing in it must stay
  // Nothing in it is of a higher level.
  bool within(uint32_t max_level) const {
    for (uint32_t level = max_level + 1; level < kPriorityLevels; ++level) {
      if (levels[level] > 0) return false;
    }
    return true;
  }

  // `row`: as many handles as blocks, or kNoHandle.
  void Open(PoolId owner, uint64_t at, uint64_t extent_bytes, uint32_t blocks, Handle row) {
    *this = Slab{.pool = owner, .offset = at, .bytes = extent_bytes, .capacity = blocks};
    free.Reset(blocks);
    first_handle = row;
    if (!bound()) slots.resize(blocks);
  }
  // Its blocks keep their handles, but it has no row any more.
  void LeaveRow() {
    slots.resize(capacity);
    for (uint32_t i = 0; i < capacity; ++i) slots[i] = first_handle + i;
    first_handle = kNoHandle;
  }
  uint32_t TakeIndex() {
    ++used;
    return free.Take();
  }
  void GiveIndex(uint32_t index) {
    free.Give(index);
    --used;
  }
  // The blocks in use, in address order.
  template <typename Visit>
  void ForEachUsed(const Visit& visit) const {
    for (uint32_t i = 0; i < capacity; ++i) {
      if (!free.IsFree(i)) visit(HandleOf(i));
    }
  }
};

}  // namespace cistern::storage
