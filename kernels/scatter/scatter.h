// Puts a segment's rows into a worker's paged cache, each at its new position: copy and rotation in
// one pass.
//
// Shapes   source and cache: see rows.h · turns: token i of the range takes turns->At(i)
// Units    bytes; k_r begins at rotary_offset of a row: turns->dim() * 2 bytes turn, all else is
//          copied (bf16_576: 1024, fp8_ds_mla_656: 528, opaque: never)
// Needs    source and cache do not overlap; all stays valid until the call returns
// Thread   any; keeps no state. Layers or token ranges may be scattered by several threads at once
// Errors   InvalidArgument: see rows.h; also a k_r that does not fit the row, fewer turns than
//          tokens. Nothing is written then
//
// Works layer by layer (num_layers 1, as layers arrive) or over a range of them; the order inside
// is page, then layer, so that a page is read front to back.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "kernels/rotary/turns.h"
#include "kernels/rows.h"

namespace cistern::kernels {

struct ScatterParams {
  SegmentRows source;
  PagedCache cache;
  RowRange range;
  uint32_t rotary_offset = 0;    // ModelSpec::rotary_offset()
  const Turns* turns = nullptr;  // null or identity: copy
  StoreHint stores = StoreHint::kAuto;
};

absl::Status ValidateScatter(const ScatterParams& params);

// Validates, then ScatterCpu.
absl::Status Scatter(const ScatterParams& params);

// The definition, and the fast form that equals it bit for bit. Params are not checked.
void ScatterRef(const ScatterParams& params);
void ScatterCpu(const ScatterParams& params);

}  // namespace cistern::kernels
