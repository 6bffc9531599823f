// Takes rows out of a worker's paged cache into the pages of a segment, as they are; k_r may come
// from elsewhere.
//
// A worker that publishes `unrotated` rows keeps k_r as it was before RoPE in a side buffer: c_KV
// (and scales) then come from the paged cache, k_r from the side buffer.
//
// Shapes   cache, target: see rows.h · k_r.rows [layers, tokens, k_r.bytes] by its strides
// Units    bytes; rotary_offset is where k_r begins in a row
// Needs    cache and target do not overlap; all stays valid until the call returns
// Thread   any; keeps no state
// Errors   InvalidArgument: see rows.h; also a side buffer that does not cover the range, or whose
//          rows do not fit the row. Nothing is written then
//
// Rows of the last page past the range are left as they are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

#include "kernels/rows.h"

namespace cistern::kernels {

// k_r of (layer, token of the sequence): rows + (layer - first_layer) * layer_stride +
// (token - first_token) * token_stride.
struct RotarySource {
  const std::byte* rows = nullptr;  // null: k_r comes from the cache with the rest of the row
  uint32_t first_layer = 0;
  uint32_t num_layers = 0;
  uint32_t first_token = 0;  // of the sequence
  uint32_t num_tokens = 0;
  uint64_t layer_stride = 0;
  uint64_t token_stride = 0;
  uint32_t bytes = 128;  // of one k_r

  const std::byte* Row(uint32_t layer, uint32_t token) const {
    return rows + (layer - first_layer) * layer_stride + (token - first_token) * token_stride;
  }
};

struct GatherParams {
  ConstPagedCache cache;
  MutableSegmentRows target;
  RowRange range;
  RotarySource k_r;
  uint32_t rotary_offset = 0;  // ModelSpec::rotary_offset(); used with a side buffer
  StoreHint stores = StoreHint::kAuto;
};

absl::Status ValidateGather(const GatherParams& params);

// Validates, then GatherCpu.
absl::Status Gather(const GatherParams& params);

// The definition, and the fast form that equals it bit for bit. Params are not checked.
void GatherRef(const GatherParams& params);
void GatherCpu(const GatherParams& params);

}  // namespace cistern::kernels
