// A few blocks out of all that may go, drawn by a fixed sequence.
//
// Cost     O(1) for each draw
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/slot_pool.h"

namespace cistern::storage {

// Of a pool whose entries have a member `place`, which is ours while the entry is in here.
template <typename Pool>
class Candidates {
 public:
  explicit Candidates(const Pool& pool) : pool_(pool) {}

  void Add(Slot slot) {
    pool_[slot].place = static_cast<uint32_t>(slots_.size());
    slots_.push_back(slot);
  }
  void Remove(Slot slot) {
    const uint32_t place = pool_[slot].place;
    pool_[slots_.back()].place = place;
    slots_[place] = slots_.back();
    slots_.pop_back();
  }
  size_t size() const { return slots_.size(); }
  Slot at(size_t i) const { return slots_[i]; }

  // Needs one at least. The same one may come twice.
  Slot Draw() {
    // One step of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators",
    // 2014).
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return slots_[z % slots_.size()];
  }

 private:
  const Pool& pool_;
  std::vector<Slot> slots_;
  uint64_t state_ = 0;
};

}  // namespace cistern::storage
