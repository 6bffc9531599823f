// bfloat16 as 16 plain bits: the upper half of an fp32.
#pragma once

#include <bit>
#include <cstdint>

namespace cistern::kernels {

inline float Bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// To nearest, ties to even. Every NaN becomes 0x7fc0, so that all forms of a kernel give the same
// bits.
inline uint16_t FloatToBf16(float value) {
  if (value != value) return 0x7fc0;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float RoundToBf16(float value) { return Bf16ToFloat(FloatToBf16(value)); }

}  // namespace cistern::kernels
