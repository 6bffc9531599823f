#include "kernels/gather/gather.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::kernels {
namespace {

constexpr uint64_t kMaxTokenStride = uint64_t{1} << 31;  // see rows.h: kMaxLayerStride

absl::Status ValidateRotarySource(const GatherParams& params) {
  const RotarySource& k_r = params.k_r;
  const RowRange& range = params.range;
  if (k_r.bytes == 0 || uint64_t{params.rotary_offset} + k_r.bytes > params.target.row_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("gather: k_r of ", k_r.bytes, " bytes at ",
                                                   params.rotary_offset, " does not fit a row of ",
                                                   params.target.row_bytes));
  }
  if (range.first_layer < k_r.first_layer ||
      uint64_t{range.first_layer} + range.num_layers > uint64_t{k_r.first_layer} + k_r.num_layers) {
    return absl::InvalidArgumentError(absl::StrCat(
        "gather: layers [", range.first_layer, ", +", range.num_layers,
        ") are outside the k_r buffer's [", k_r.first_layer, ", +", k_r.num_layers, ")"));
  }
  if (range.cache_token < k_r.first_token ||
      uint64_t{range.cache_token} + range.num_tokens > uint64_t{k_r.first_token} + k_r.num_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "gather: tokens [", range.cache_token, ", +", range.num_tokens,
        ") are outside the k_r buffer's [", k_r.first_token, ", +", k_r.num_tokens, ")"));
  }
  if (k_r.num_layers > kMaxLayers || k_r.layer_stride > kMaxLayerStride ||
      k_r.token_stride > kMaxTokenStride || (k_r.num_tokens > 1 && k_r.token_stride < k_r.bytes) ||
      (k_r.num_layers > 1 && k_r.layer_stride < k_r.bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("gather: k_r strides are ", k_r.layer_stride,
                                                   " and ", k_r.token_stride, "; a k_r has ",
                                                   k_r.bytes, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateGather(const GatherParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateRows(params.target, params.range));
  CISTERN_RETURN_IF_ERROR(ValidateCache(params.cache, params.range, params.target.row_bytes));
  if (params.k_r.rows == nullptr) return absl::OkStatus();
  return ValidateRotarySource(params);
}

absl::Status Gather(const GatherParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateGather(params));
  GatherCpu(params);
  return absl::OkStatus();
}

}  // namespace cistern::kernels
