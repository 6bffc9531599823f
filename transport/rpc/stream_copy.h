// Copies into memory that nobody reads soon: past the caches, so that it neither loads what it
// overwrites nor evicts what is in use.
//
// Thread   any; what was copied may be read by others when the call has returned
#pragma once

#include <cstddef>
#include <vector>

#include "transport/slice.h"

namespace cistern::transport {

// `bytes` bytes; the two do not overlap.
void StreamCopy(const std::byte* from, std::byte* to, size_t bytes);

// As CopySlices (copy_slices.h): min(total of `from`, total of `to`) bytes.
void StreamSlices(const std::vector<Slice>& from, const std::vector<MutableSlice>& to);

}  // namespace cistern::transport
