// Plain access to one element of a TokenArray: what the reference forms read with.
#pragma once

#include <cstring>

#include "kernels/bf16.h"
#include "kernels/recurrence/recurrence.h"

namespace cistern::kernels {

inline float ElementAt(const TokenArray& tokens, size_t token, size_t head, size_t i) {
  const std::byte* const at = tokens.At(token, head);
  if (tokens.type == ElementType::kBf16) {
    uint16_t bits;
    std::memcpy(&bits, at + 2 * i, sizeof(bits));
    return Bf16ToFloat(bits);
  }
  float value;
  std::memcpy(&value, at + 4 * i, sizeof(value));
  return value;
}

// 1 where there is no weight.
inline float WeightAt(const TokenArray& weight, size_t token, size_t head) {
  return weight.data == nullptr ? 1.0f : ElementAt(weight, token, head, 0);
}

inline float RateOf(const DecayArray& decay, size_t head) {
  return decay.rates == nullptr ? 1.0f : decay.rates[head];
}

}  // namespace cistern::kernels
