// What the files of the memory tier share. Private to them.
#pragma once

#include <cstdint>
#include <vector>

#include "storage/store.h"

namespace cistern::storage {

inline constexpr SessionId kTierSession = 1;  // the lower store has no other ones

template <typename Run>
uint64_t RunBytes(const std::vector<Run>& runs) {
  uint64_t bytes = 0;
  for (const Run& run : runs) bytes += run.size();
  return bytes;
}

}  // namespace cistern::storage
