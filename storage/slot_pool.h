// Objects of one type that come and go, at addresses that stay and known by 32-bit numbers: cut
// from chunks, so that none pays for an allocation of its own. Chunks are kept for the next ones.
//
// Cost     O(1), amortised
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace cistern::storage {

using Slot = uint32_t;
inline constexpr Slot kNoSlot = 0;  // of no object

// `kChunk` of them are allocated at a time.
template <typename T, Slot kChunk = 64>
class SlotPool {
 public:
  // A slot whose T is as a new one is; fewer than 2^32 at a time.
  Slot Take() {
    if (free_.empty()) Grow();
    const Slot slot = free_.back();
    free_.pop_back();
    return slot;
  }
  // It came from Take.
  void Give(Slot slot) {
    T& object = (*this)[slot];
    std::destroy_at(&object);
    std::construct_at(&object);
    free_.push_back(slot);
  }
  // All slots that there are lie below.
  Slot end() const { return static_cast<Slot>(chunks_.size() * kChunk); }
  T& operator[](Slot slot) const { return chunks_[slot / kChunk][slot % kChunk]; }

 private:
  void Grow() {
    const auto first = static_cast<Slot>(chunks_.size() * kChunk);
    chunks_.push_back(std::make_unique<T[]>(kChunk));
    for (Slot i = kChunk; i-- > 0;) {
      if (first + i != kNoSlot) free_.push_back(first + i);
    }
  }

  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<Slot> free_;
};

}  // namespace cistern::storage
