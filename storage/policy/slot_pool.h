// Objects of one type that come and go, at addresses that stay: cut from chunks, so that none pays
// for an allocation of its own. Chunks are kept for the next ones.
//
// Cost     O(1), amortised
// Thread   one at a time
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace cistern::storage {

template <typename T>
class SlotPool {
 public:
  // As a new T is.
  T* Take() {
    if (free_.empty()) Grow();
    T* slot = free_.back();
    free_.pop_back();
    return slot;
  }
  // `slot` came from Take.
  void Give(T* slot) {
    *slot = T();
    free_.push_back(slot);
  }

 private:
  static constexpr size_t kChunk = 64;

  void Grow() {
    chunks_.push_back(std::make_unique<T[]>(kChunk));
    for (size_t i = kChunk; i-- > 0;) free_.push_back(&chunks_.back()[i]);
  }

  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<T*> free_;
};

}  // namespace cistern::storage
