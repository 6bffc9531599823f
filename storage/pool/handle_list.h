// The handles of one object's blocks, in order, in 8 bytes where they follow each other.
//
//   h, h+1, h+2, ...    the first one and their number, and no more
//   otherwise           an array of their own: 4 bytes each, 4 for their number
//
// Handles follow each other where blocks do, if they are of one slab (page_table.h): while an arena
// fills, and afterwards as long as what comes is as large as what has gone. An object that lies in
// two slabs has an array once its place has been used before.
//
// Cost     O(1); Assign and Replace are O(size)
// Thread   one at a time
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "storage/pool/page_table.h"

namespace cistern::storage {

class HandleList {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Handle;
    using difference_type = ptrdiff_t;
    using pointer = const Handle*;
    using reference = Handle;

    Iterator(const HandleList* list, uint32_t at) : list_(list), at_(at) {}
    Handle operator*() const { return (*list_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const HandleList* list_;
    uint32_t at_;
  };

  HandleList() = default;
  HandleList(const HandleList&) = delete;
  HandleList& operator=(const HandleList&) = delete;
  ~HandleList() { clear(); }

  uint32_t size() const { return is_run() ? static_cast<uint32_t>(word_ >> 33) : array()[0]; }
  bool empty() const { return size() == 0; }
  Handle operator[](uint32_t i) const {
    return is_run() ? static_cast<Handle>(word_ >> 1) + i : array()[i + 1];
  }
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size()}; }

  // Fewer than 2^31.
  void Assign(std::span<const Handle> handles) {
    clear();
    const auto breaks = [](Handle a, Handle b) { return b != a + 1; };
    if (handles.empty()) return;
    if (std::ranges::adjacent_find(handles, breaks) == handles.end()) {
      word_ = uint64_t{handles.size()} << 33 | uint64_t{handles[0]} << 1 | 1;
      return;
    }
    auto* const array = new uint32_t[handles.size() + 1];
    array[0] = static_cast<uint32_t>(handles.size());
    std::ranges::copy(handles, array + 1);
    word_ = reinterpret_cast<uintptr_t>(array);
  }
  // `from` is one of them.
  void Replace(Handle from, Handle to) {
    if (!is_run()) {  // it may become one again: it keeps its array
      uint32_t* const first = array() + 1;
      *std::find(first, first + array()[0], from) = to;
      return;
    }
    std::vector<Handle> handles(begin(), end());
    std::ranges::replace(handles, from, to);
    Assign(handles);
  }
  void clear() {
    if (!is_run()) delete[] array();
    word_ = kNone;
  }

 private:
  static constexpr uint64_t kNone = 1;  // a run of none

  bool is_run() const { return (word_ & 1) != 0; }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it came from Assign; an array's address is even
  uint32_t* array() const { return reinterpret_cast<uint32_t*>(word_); }

  uint64_t word_ = kNone;
};

}  // namespace cistern::storage
