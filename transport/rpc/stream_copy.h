// Copies into memory that nobody reads soon: past the caches, so that it neither loads what it
// overwrites nor evicts what is in use.
//
// Thread   any; what was copied may be read by others when the call has returned
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "transport/slice.h"

namespace cistern::transport {

// `bytes` bytes; the two do not overlap.
void StreamCopy(const std::byte* from, std::byte* to, size_t bytes);

// As CopySlices (copy_slices.h): min(total of `from`, total of `to`) bytes.
void StreamSlices(const std::vector<Slice>& from, const std::vector<MutableSlice>& to);

// The same in steps: (Copy)* Fence. What was copied may be read by others after the Fence.
//
// Thread   one at a time
class StreamSteps {
 public:
  StreamSteps(std::vector<Slice> from, std::vector<MutableSlice> to)
      : from_(std::move(from)), to_(std::move(to)) {}

  void Copy(uint64_t bytes);  // the next so many, no more than are left
  static void Fence();

 private:
  std::vector<Slice> from_;
  std::vector<MutableSlice> to_;
  size_t from_next_ = 0, to_next_ = 0;  // slices; what is done of them has been cut off
};

}  // namespace cistern::transport
