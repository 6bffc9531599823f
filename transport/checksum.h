// The checksum of a payload: XXH3-64 over its slices as one run of bytes. A hash of 0 is given as
// 1, because 0 says "not checked" in a message.
#pragma once

#include <cstdint>
#include <vector>

#include "transport/slice.h"

namespace cistern::transport {

uint64_t PayloadChecksum(const std::vector<Slice>& slices);
uint64_t PayloadChecksum(const std::vector<MutableSlice>& slices);

}  // namespace cistern::transport
