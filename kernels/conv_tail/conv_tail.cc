#include "kernels/conv_tail/conv_tail.h"

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::kernels {

absl::Status ValidateConvTail(const ConvTailParams& params) {
  if (params.layout > ConvTailLayout::kChannelMajor) {
    return absl::InvalidArgumentError("conv tail: there is no such layout");
  }
  if (params.element_bytes != 2 && params.element_bytes != 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("conv tail: elements of ", params.element_bytes, " bytes; 2 or 4"));
  }
  if (params.width > ConvTailParams::kMaxWidth) {
    return absl::InvalidArgumentError(
        absl::StrCat("conv tail: width ", params.width, "; at most ", ConvTailParams::kMaxWidth));
  }
  if (params.width == 0 || params.channels == 0) return absl::OkStatus();
  if (params.tail_out == nullptr) {
    return absl::InvalidArgumentError("conv tail: tail_out is null");
  }
  const uint64_t row_bytes = uint64_t{params.channels} * params.element_bytes;
  const uint64_t bytes = params.width * row_bytes;
  if (params.tail_in != nullptr && params.tail_in != params.tail_out &&
      params.tail_in < params.tail_out + bytes && params.tail_out < params.tail_in + bytes) {
    return absl::InvalidArgumentError("conv tail: tail_in and tail_out overlap");
  }
  if (params.num_tokens == 0) return absl::OkStatus();
  if (params.inputs == nullptr) return absl::InvalidArgumentError("conv tail: inputs is null");
  if (params.input_stride < row_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "conv tail: input_stride is ", params.input_stride, "; a token has ", row_bytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status ConvTail(const ConvTailParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateConvTail(params));
  ConvTailCpu(params);
  return absl::OkStatus();
}

}  // namespace cistern::kernels
