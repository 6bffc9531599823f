// bf16 for the bench's own models, apart from kernels/.
#pragma once

#include <bit>
#include <cstdint>

namespace cistern::tools {

inline uint16_t ToBf16(float x) {  // round to nearest even; no NaN here
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

inline float FromBf16(uint16_t x) { return std::bit_cast<float>(uint32_t{x} << 16); }

}  // namespace cistern::tools
