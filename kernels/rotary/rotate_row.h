// One row of k_r turned by plain loops: what every other form must equal bit for bit.
//
// in, out   [dim] bf16, any alignment; out may be in
// entry     [cos x dim/2 | sin x dim/2]
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/bf16.h"
#include "kernels/rotary/turns.h"

namespace cistern::kernels {

// One product-and-sum of the turn. Rounded after each operation when the engine's op does so.
inline uint16_t TurnElement(float x, float cos, float y, float sin, bool bf16_per_op) {
  const float xc = x * cos;
  const float ys = y * sin;
  if (!bf16_per_op) return FloatToBf16(xc + ys);
  return FloatToBf16(RoundToBf16(xc) + RoundToBf16(ys));
}

inline void RotateRowRef(const std::byte* in, const Turns& turns, const float* entry,
                         std::byte* out) {
  const uint32_t pairs = turns.dim() / 2;
  const bool half = turns.style() == base::RotaryStyle::kHalf;
  for (uint32_t i = 0; i < pairs; ++i) {
    const size_t at_a = 2 * size_t{half ? i : 2 * i};  // bytes
    const size_t at_b = 2 * size_t{half ? i + pairs : 2 * i + 1};
    uint16_t a_bits, b_bits;
    std::memcpy(&a_bits, in + at_a, sizeof(a_bits));
    std::memcpy(&b_bits, in + at_b, sizeof(b_bits));
    const float a = Bf16ToFloat(a_bits), b = Bf16ToFloat(b_bits);
    const float cos = entry[i], sin = entry[pairs + i];
    a_bits = TurnElement(a, cos, -b, sin, turns.bf16_per_op());  // a cos - b sin; negation is exact
    b_bits = TurnElement(b, cos, a, sin, turns.bf16_per_op());
    std::memcpy(out + at_a, &a_bits, sizeof(a_bits));
    std::memcpy(out + at_b, &b_bits, sizeof(b_bits));
  }
}

}  // namespace cistern::kernels
