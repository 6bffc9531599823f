// memcpy from one list of pieces to another, whose cuts may lie elsewhere.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "transport/slice.h"

namespace cistern::transport {

// Copies min(total of `from`, total of `to`) bytes. They do not overlap.
template <typename S>
void CopySlices(const std::vector<S>& from, const std::vector<MutableSlice>& to) {
  size_t from_index = 0;
  size_t from_offset = 0;
  for (MutableSlice into : to) {
    while (!into.empty() && from_index < from.size()) {
      const size_t bytes = std::min(into.size(), from[from_index].size() - from_offset);
      if (bytes > 0) memcpy(into.data(), from[from_index].data() + from_offset, bytes);
      into = into.subspan(bytes);
      from_offset += bytes;
      if (from_offset == from[from_index].size()) {
        ++from_index;
        from_offset = 0;
      }
    }
  }
}

}  // namespace cistern::transport
