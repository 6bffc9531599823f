// Least recently used, of the blocks that may go.
//
// Cost     O(log n)
#pragma once

#include <cstdint>

#include "storage/policy/eviction_policy.h"
#include "storage/policy/slot_heap.h"

namespace cistern::storage {

class LruPolicy final : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 private:
  struct Before {
    bool operator()(const Entry& a, const Entry& b) const { return a.last_use < b.last_use; }
  };

  void Entered(Slot, uint64_t) override {}
  void Used(Slot slot) override;
  void Opened(Slot slot) override { open_.Insert(slot); }
  void Closed(Slot slot) override { open_.Erase(slot); }
  Slot Choose() override { return open_.empty() ? kNoSlot : open_.top(); }
  void Left(Slot, Exit, uint64_t) override {}

  SlotHeap<Ranked<Entries, Before>> open_{{&entries()}};  // what may go
};

}  // namespace cistern::storage
