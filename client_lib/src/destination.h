// Where a fetch writes: the worker's paged cache, and its buffer for k_r before RoPE. A copy of the
// description; the memory is the worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "cistern/paged_cache.h"
#include "kernels/rows.h"

namespace cistern::client {

class Destination {
 public:
  Destination(const PagedCache& cache, const FetchOptions& options);

  // InvalidArgument, naming the field: not as many layers as the model, strides that are too small,
  // a block table that does not cover `spans` or points outside the cache.
  absl::Status Validate(const base::ModelSpec& spec, const std::vector<Span>& spans) const;

  kernels::PagedCache View() const;
  DeviceMemory* device() const { return device_; }  // nullptr: host memory
  bool has_pre_rope() const { return !pre_rope_.empty(); }
  bool pre_rope_everywhere() const { return pre_rope_everywhere_; }
  uint64_t pre_rope_stride() const { return pre_rope_stride_; }
  std::byte* PreRope(uint32_t layer, uint32_t token) const {
    return pre_rope_[layer] + token * pre_rope_stride_;
  }

 private:
  const std::vector<std::byte*> layers_;
  const std::vector<int32_t> block_table_;
  const uint64_t num_blocks_;
  const uint32_t block_tokens_;
  const uint64_t block_stride_;
  const uint64_t row_stride_;
  DeviceMemory* const device_;
  const std::vector<std::byte*> pre_rope_;  // [num_layers] or empty
  const uint64_t pre_rope_stride_;
  const bool pre_rope_everywhere_;
};

// The kernels' view of `cache`, which outlives it.
kernels::ConstPagedCache ViewOf(const PagedCache& cache);

}  // namespace cistern::client
