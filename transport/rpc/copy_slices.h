// memcpy from one list of pieces to another, whose cuts may lie elsewhere.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "transport/slice.h"

namespace cistern::transport {

// Copies min(total of `from`, total of `to`) bytes, each piece by copy(from, to, bytes). They do
// not overlap.
template <typename S, typename Copy>
void CopySlices(const std::vector<S>& from, const std::vector<MutableSlice>& to, Copy copy) {
  size_t from_index = 0;
  size_t from_offset = 0;
  for (MutableSlice into : to) {
    while (!into.empty() && from_index < from.size()) {
      const size_t bytes = std::min(into.size(), from[from_index].size() - from_offset);
      if (bytes > 0) copy(from[from_index].data() + from_offset, into.data(), bytes);
      into = into.subspan(bytes);
      from_offset += bytes;
      if (from_offset == from[from_index].size()) {
        ++from_index;
        from_offset = 0;
      }
    }
  }
}

template <typename S>
void CopySlices(const std::vector<S>& from, const std::vector<MutableSlice>& to) {
  CopySlices(from, to, [](const std::byte* source, std::byte* target, size_t bytes) {
    memcpy(target, source, bytes);
  });
}

}  // namespace cistern::transport
