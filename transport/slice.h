// Pieces of memory that a payload comes from or goes to, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cistern::transport {

using Slice = std::span<const std::byte>;
using MutableSlice = std::span<std::byte>;

template <typename S>
uint64_t TotalBytes(const std::vector<S>& slices) {
  uint64_t total = 0;
  for (const S& slice : slices) total += slice.size();
  return total;
}

}  // namespace cistern::transport
