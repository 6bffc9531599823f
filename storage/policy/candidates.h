// A few blocks out of all that may go, drawn by a fixed sequence.
//
// Cost     O(1) for each draw
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cistern::storage {

template <typename Entry>  // has a member `slot`, which is ours while the entry is in here
class Candidates {
 public:
  void Add(Entry& entry) {
    entry.slot = static_cast<uint32_t>(entries_.size());
    entries_.push_back(&entry);
  }
  void Remove(Entry& entry) {
    entries_.back()->slot = entry.slot;
    entries_[entry.slot] = entries_.back();
    entries_.pop_back();
  }
  size_t size() const { return entries_.size(); }
  Entry* at(size_t i) const { return entries_[i]; }

  // Needs one at least. The same one may come twice.
  Entry* Draw() {
    // One step of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators",
    // 2014).
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return entries_[z % entries_.size()];
  }

 private:
  std::vector<Entry*> entries_;
  uint64_t state_ = 0;
};

}  // namespace cistern::storage
