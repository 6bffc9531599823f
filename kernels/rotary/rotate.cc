#include "kernels/rotary/rotate.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::kernels {

absl::Status ValidateRotate(const RotateParams& params) {
  if (params.in == nullptr || params.out == nullptr || params.turns == nullptr) {
    return absl::InvalidArgumentError("rotate: in, out or turns is null");
  }
  const Turns& turns = *params.turns;
  const uint64_t row_bytes = 2 * uint64_t{turns.identity() ? params.identity_dim : turns.dim()};
  if (params.in_stride < row_bytes || params.out_stride < row_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("rotate: strides are ", params.in_stride,
                                                   " and ", params.out_stride, "; a row has ",
                                                   row_bytes, " bytes"));
  }
  if (turns.num_tokens() < params.num_rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("rotate: ", params.num_rows, " rows, turns for ", turns.num_tokens()));
  }
  return absl::OkStatus();
}

absl::Status Rotate(const RotateParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateRotate(params));
  RotateCpu(params);
  return absl::OkStatus();
}

}  // namespace cistern::kernels
