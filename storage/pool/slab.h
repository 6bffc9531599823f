// A piece of the arena that holds blocks of one pool: as many whole blocks as it was cut for.
//
// Taking and giving a block is O(1): free blocks are chained through the array that names the
// blocks in use.
#pragma once

#include <cstdint>
#include <vector>

#include "storage/pool/extent_map.h"
#include "storage/pool/page_table.h"

namespace cistern::storage {

using PoolId = uint32_t;

struct Slab {
  static constexpr uint32_t kFreeBlock =
      1u << 31;  // in slots: the rest is the next free block's index
  static constexpr uint32_t kEnd = kFreeBlock - 1;
  static constexpr uint32_t kMaxBlocks = 1u << 16;

  PoolId pool = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;     // the extent's
  uint32_t capacity = 0;  // blocks; 0: this slab id is not in use
  uint32_t used = 0;
  uint32_t movable = 0;       // blocks in use whose bytes may be copied elsewhere now
  uint32_t evictable = 0;     // blocks in use whose objects may go now
  uint64_t priority_sum = 0;  // over the evictable blocks
  bool closing = false;       // it is being emptied: its free blocks are not handed out
  uint32_t free_head = kEnd;
  SlabId previous = kFreeExtent;  // in the pool's list of slabs with free blocks
  SlabId next = kFreeExtent;
  std::vector<uint32_t> slots;  // [capacity]: handle, or kFreeBlock | next free index

  bool full() const { return used == capacity; }
  bool clearable() const { return used == evictable; }  // nothing in it must stay

  void Open(PoolId owner, uint64_t at, uint64_t extent_bytes, uint32_t blocks) {
    *this = Slab{
        .pool = owner, .offset = at, .bytes = extent_bytes, .capacity = blocks, .free_head = 0};
    slots.resize(blocks);
    for (uint32_t i = 0; i < blocks; ++i) slots[i] = kFreeBlock | (i + 1 < blocks ? i + 1 : kEnd);
  }
  uint32_t TakeIndex() {
    const uint32_t index = free_head;
    free_head = slots[index] & ~kFreeBlock;
    ++used;
    return index;
  }
  void GiveIndex(uint32_t index) {
    slots[index] = kFreeBlock | free_head;
    free_head = index;
    --used;
  }
};

}  // namespace cistern::storage
