// Sizes rounded up, as allocators and file formats need them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace cistern::base {

// The smallest multiple of `unit` that is at least `value`; `unit` is not 0.
constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Size classes: `least`, and then `steps` equal steps to each doubling, so that a buffer kept for
// reuse is at most 1/steps larger than what was asked for.
constexpr uint64_t RoundUpToClass(uint64_t bytes, uint64_t least, uint64_t steps) {
  if (bytes <= least) return least;
  return RoundUp(bytes, std::max<uint64_t>(std::bit_floor(bytes - 1) / steps, 1));
}

}  // namespace cistern::base
