// Value: aged frequency x recompute cost / bytes, for blocks in trees (after
// GreedyDual-Size-Frequency).
//
//   credit    = sqrt(FLOPs / bytes) x (1 + uses / 4)
//               a third of it on probation: never used again, by nothing followed
//   priority  = inflation + credit, set when it comes, is used or gets a child
//   victim    = the lowest priority of those that may go, then the longest unused;
//               inflation rises to it
//
// Uses are those since it came and, if it is remembered as a ghost, those of its last life and its
// return. Ghosts are at most four times as many as blocks.
//
// Inflation is the age. The root, and a quarter of a credit for a use instead of a whole one, weigh
// age more: with plain cost and whole uses, deep or once popular blocks outstay their next use in a
// large cache (tools/bench/evict/README.md has the figures). Probation is a smaller credit, not a
// queue of its own: a share of the memory need not be guessed.
//
// Whole numbers, so that the same calls give the same victims on every machine.
//
// Cost     O(log n)
// Source   Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching"
//          (1998); ghosts after Yang et al., SOSP 2023
#pragma once

#include <cstdint>

#include "storage/policy/eviction_policy.h"
#include "storage/policy/ghost_list.h"
#include "storage/policy/slot_heap.h"

namespace cistern::storage {

class ValuePolicy final : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

  bool inflates() const override { return true; }

  static constexpr uint32_t kMaxUses = 16;  // more say nothing about the next one
  static_assert(kMaxUses + 1 < 1 << 5);     // Entry::uses
  static constexpr uint64_t kProbation = 3;
  static constexpr size_t kGhosts = 4;  // for each block that is there

 private:
  struct Before {
    bool operator()(const Entry& a, const Entry& b) const {
      return a.priority != b.priority ? a.priority < b.priority : a.last_use < b.last_use;
    }
  };

  void Entered(Slot slot, uint64_t key) override;
  void Used(Slot slot) override;
  void Followed(Slot slot) override { Used(slot); }
  void Opened(Slot slot) override { open_.Insert(slot); }
  void Closed(Slot slot) override { open_.Erase(slot); }
  Slot Choose() override { return open_.empty() ? kNoSlot : open_.top(); }
  void Left(Slot slot, Exit exit, uint64_t key) override;
  uint64_t WorthOf(const Entry& entry) const override { return entry.priority; }

  static uint32_t UsesOf(const Entry& entry);
  static uint64_t Credit(const Entry& entry);
  uint64_t PriorityNow(const Entry& entry);

  SlotHeap<Ranked<Entries, Before>> open_{{&entries()}};  // what may go
  GhostList ghosts_;
};

}  // namespace cistern::storage
