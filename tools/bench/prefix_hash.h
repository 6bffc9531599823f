// One number for a sequence of tokens, extended token by token.
#pragma once

#include <cstdint>

#include "base/key.h"

namespace cistern::tools {

inline constexpr uint64_t kNoTokens = 0x5bd1e995;  // the hash of the empty sequence

inline uint64_t ExtendPrefix(uint64_t prefix, base::TokenId token) {
  uint64_t x = (prefix ^ token) * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03;
  x ^= x >> 32;
  x *= 0xBEA225F9EB34556D;
  return x ^ x >> 29;
}

}  // namespace cistern::tools
