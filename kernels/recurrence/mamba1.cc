#include "kernels/recurrence/mamba1.h"

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::kernels {
namespace {

absl::Status ValidateItem(const Mamba1Params& params, const Mamba1Item& item) {
  if (item.state_out == nullptr) return absl::InvalidArgumentError("state_out is null");
  const size_t floats = size_t{params.num_channels} * params.state_dim;
  if (item.state_in != nullptr && item.state_in != item.state_out &&
      item.state_in < item.state_out + floats && item.state_out < item.state_in + floats) {
    return absl::InvalidArgumentError("state_in and state_out overlap");
  }
  if (item.num_tokens == 0) return absl::OkStatus();
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.x, "x"));
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.dt, "dt"));
  return ValidateTokens(item.b, "b");
}

}  // namespace

absl::Status ValidateMamba1(const Mamba1Params& params) {
  if (params.num_channels == 0 || params.num_channels > Mamba1Params::kMaxChannels ||
      params.state_dim == 0 || params.state_dim > Mamba1Params::kMaxStateDim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "mamba-1 fold: ", params.num_channels, " channels of ", params.state_dim, "; 1 to ",
        Mamba1Params::kMaxChannels, " of 1 to ", Mamba1Params::kMaxStateDim));
  }
  if (params.a == nullptr) return absl::InvalidArgumentError("mamba-1 fold: a is null");
  if (params.scratch.size() < Mamba1ScratchFloats(params.state_dim)) {
    return absl::InvalidArgumentError(
        absl::StrCat("mamba-1 fold: scratch of ", params.scratch.size(),
                     " floats, this shape needs ", Mamba1ScratchFloats(params.state_dim)));
  }
  for (size_t i = 0; i < params.items.size(); ++i) {
    const absl::Status status = ValidateItem(params, params.items[i]);
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("mamba-1 fold: item ", i, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status FoldMamba1(const Mamba1Params& params) {
  CISTERN_RETURN_IF_ERROR(ValidateMamba1(params));
  FoldMamba1Cpu(params);
  return absl::OkStatus();
}

}  // namespace cistern::kernels
