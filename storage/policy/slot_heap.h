// Some entries, the one that goes first on top: a heap of their slots in which each entry knows its
// place, so that any of them can leave or change its rank.
//
// A B-tree of (rank, entry) pairs costs 25 bytes for each; this one 4 to 4.5 of the most that
// it has held.
//
// Cost     O(log n); the top is O(1)
// Thread   one at a time
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/slot_pool.h"

namespace cistern::storage {

// What a heap asks of the entries of a pool: `Before()(a, b)` when a goes before b, and a member
// `place`, which is the heap's while the entry is in it.
template <typename Pool, typename Before>
struct Ranked {
  const Pool* pool;
  bool GoesBefore(Slot a, Slot b) const { return Before()((*pool)[a], (*pool)[b]); }
  uint32_t& PlaceOf(Slot slot) const { return (*pool)[slot].place; }
};

// `Ranks` is a Ranked or the like.
template <typename Ranks>
class SlotHeap {
 public:
  explicit SlotHeap(const Ranks& ranks) : ranks_(ranks) {}

  bool empty() const { return heap_.empty(); }
  Slot top() const { return heap_.front(); }
  void Insert(Slot slot) {
    // By an eighth: twice as large, a quarter of it would be empty on average.
    if (heap_.size() == heap_.capacity()) heap_.reserve(heap_.size() + heap_.size() / 8 + 8);
    heap_.push_back(slot);
    Rise(heap_.size() - 1, slot);
  }
  void Erase(Slot slot) {
    const size_t hole = ranks_.PlaceOf(slot);
    const Slot last = heap_.back();
    heap_.pop_back();
    if (last != slot) Settle(hole, last);
  }
  // Its rank is another one now.
  void Update(Slot slot) { Settle(ranks_.PlaceOf(slot), slot); }

 private:
  static constexpr size_t kFan = 4;

  bool GoesBefore(Slot a, Slot b) const { return ranks_.GoesBefore(a, b); }
  void Put(size_t at, Slot slot) {
    heap_[at] = slot;
    ranks_.PlaceOf(slot) = static_cast<uint32_t>(at);
  }
  void Settle(size_t at, Slot slot) {
    if (at > 0 && GoesBefore(slot, heap_[(at - 1) / kFan])) {
      Rise(at, slot);
    } else {
      Sink(at, slot);
    }
  }
  void Rise(size_t at, Slot slot) {
    while (at > 0) {
      const size_t above = (at - 1) / kFan;
      if (!GoesBefore(slot, heap_[above])) break;
      Put(at, heap_[above]);
      at = above;
    }
    Put(at, slot);
  }
  void Sink(size_t at, Slot slot) {
    while (at * kFan + 1 < heap_.size()) {
      const size_t end = std::min(at * kFan + 1 + kFan, heap_.size());
      size_t first = at * kFan + 1;
      for (size_t below = first + 1; below < end; ++below) {
        if (GoesBefore(heap_[below], heap_[first])) first = below;
      }
      if (!GoesBefore(heap_[first], slot)) break;
      Put(at, heap_[first]);
      at = first;
    }
    Put(at, slot);
  }

  Ranks ranks_;
  std::vector<Slot> heap_;
};

}  // namespace cistern::storage
