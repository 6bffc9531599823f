#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "kernels/rotary/rotate.h"
#include "kernels/rotary/rotate_row.h"

namespace cistern::kernels {

void RotateRef(const RotateParams& params) {
  const Turns& turns = *params.turns;
  for (uint32_t i = 0; i < params.num_rows; ++i) {
    const std::byte* in = params.in + i * params.in_stride;
    std::byte* out = params.out + i * params.out_stride;
    if (turns.identity()) {
      std::memmove(out, in, size_t{params.identity_dim} * 2);
    } else {
      RotateRowRef(in, turns, turns.At(i), out);
    }
  }
}

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
