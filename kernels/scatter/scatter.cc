#include "kernels/scatter/scatter.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::kernels {

absl::Status ValidateScatter(const ScatterParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateRows(params.source, params.range));
  CISTERN_RETURN_IF_ERROR(ValidateCache(params.cache, params.range, params.source.row_bytes));
  if (params.turns == nullptr || params.turns->identity()) return absl::OkStatus();
  const uint64_t rotary_end = uint64_t{params.rotary_offset} + 2 * uint64_t{params.turns->dim()};
  if (rotary_end > params.source.row_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("scatter: k_r ends at byte ", rotary_end,
                                                   " of a row of ", params.source.row_bytes));
  }
  if (params.turns->num_tokens() < params.range.num_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "scatter: ", params.range.num_tokens, " tokens, turns for ", params.turns->num_tokens()));
  }
  return absl::OkStatus();
}

absl::Status Scatter(const ScatterParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateScatter(params));
  ScatterCpu(params);
  return absl::OkStatus();
}

}  // namespace cistern::kernels
