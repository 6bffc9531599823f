#include "kernels/recurrence/fold.h"

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::kernels {
namespace {

absl::Status ValidateItem(const RecurrenceShape& shape, const FoldItem& item) {
  if (item.state_out == nullptr) {
    return absl::InvalidArgumentError("state_out is null");
  }
  const float* const in = item.state_in;
  const float* const out = item.state_out;
  if (in != nullptr && in != out && in < out + shape.state_floats() &&
      out < in + shape.state_floats()) {
    return absl::InvalidArgumentError("state_in and state_out overlap");
  }
  if (item.num_tokens == 0) return absl::OkStatus();
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.k, "k"));
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.v, "v"));
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.decay.log, "decay"));
  if (item.weight.data == nullptr) return absl::OkStatus();
  return ValidateTokens(item.weight, "weight");
}

}  // namespace

absl::Status ValidateFold(const FoldParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateShape(params.shape));
  if (params.scratch.size() < FoldScratchFloats(params.shape)) {
    return absl::InvalidArgumentError(absl::StrCat("fold: scratch of ", params.scratch.size(),
                                                   " floats, this shape needs ",
                                                   FoldScratchFloats(params.shape)));
  }
  for (size_t i = 0; i < params.items.size(); ++i) {
    const absl::Status status = ValidateItem(params.shape, params.items[i]);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("fold: item ", i, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status Fold(const FoldParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateFold(params));
  FoldCpu(params);
  return absl::OkStatus();
}

}  // namespace cistern::kernels
