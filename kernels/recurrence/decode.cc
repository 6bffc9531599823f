#include "kernels/recurrence/decode.h"

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "kernels/recurrence/fold.h"

namespace cistern::kernels {
namespace {

absl::Status ValidateItem(const RecurrenceShape& shape, const DecodeItem& item) {
  if (item.num_buffered > kMaxDecodeTokens || item.num_new > kMaxDecodeTokens - item.num_buffered) {
    return absl::InvalidArgumentError(absl::StrCat(item.num_buffered, " buffered and ",
                                                   item.num_new, " new tokens; at most ",
                                                   kMaxDecodeTokens));
  }
  if (item.num_new == 0) return absl::OkStatus();
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.q, "q"));
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.k, "k"));
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.v, "v"));
  CISTERN_RETURN_IF_ERROR(ValidateTokens(item.decay.log, "decay"));
  if (item.weight.data != nullptr) CISTERN_RETURN_IF_ERROR(ValidateTokens(item.weight, "weight"));
  if (item.u == nullptr || item.out == nullptr) {
    return absl::InvalidArgumentError("u or out is null");
  }
  const size_t row = size_t{shape.num_heads} * shape.value_dim;
  if (item.u_token_stride < row || item.out_token_stride < row) {
    return absl::InvalidArgumentError(absl::StrCat("token strides are ", item.u_token_stride,
                                                   " of u and ", item.out_token_stride,
                                                   " of out; a token has ", row, " elements"));
  }
  return absl::OkStatus();
}

absl::Status AtItem(absl::string_view op, size_t item, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(op, ": item ", item, ": ", status.message()));
}

// A token whose u is known is one of value u and weight 1.
FoldItem FoldOf(const RecurrenceShape& shape, const CommitItem& item) {
  return {.state_in = item.state,
          .state_out = item.state,
          .num_tokens = item.num_tokens,
          .k = item.k,
          .v = {item.u, ElementType::kFloat32, item.u_token_stride, shape.value_dim},
          .decay = item.decay};
}

}  // namespace

absl::Status ValidateDecode(const DecodeParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateShape(params.shape));
  if (params.scratch.size() < DecodeScratchFloats(params.shape)) {
    return absl::InvalidArgumentError(absl::StrCat("decode: scratch of ", params.scratch.size(),
                                                   " floats, this shape needs ",
                                                   DecodeScratchFloats(params.shape)));
  }
  for (size_t i = 0; i < params.items.size(); ++i) {
    const absl::Status status = ValidateItem(params.shape, params.items[i]);
    if (!status.ok()) return AtItem("decode", i, status);
  }
  return absl::OkStatus();
}

absl::Status Decode(const DecodeParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateDecode(params));
  DecodeCpu(params);
  return absl::OkStatus();
}

absl::Status Commit(const CommitParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateShape(params.shape));
  RecurrenceShape replay = params.shape;
  replay.recurrence = ReplayOf(replay.recurrence);
  for (size_t i = 0; i < params.items.size(); ++i) {
    const CommitItem& item = params.items[i];
    if (item.num_tokens == 0) continue;
    if (item.u == nullptr) return AtItem("commit", i, absl::InvalidArgumentError("u is null"));
    const size_t row = size_t{params.shape.num_heads} * params.shape.value_dim;
    if (item.u_token_stride < row) {
      return AtItem(
          "commit", i,
          absl::InvalidArgumentError(absl::StrCat("the token stride of u is ", item.u_token_stride,
                                                  "; a token has ", row, " elements")));
    }
    const FoldItem fold = FoldOf(params.shape, item);
    const absl::Status status =
        ValidateFold({.shape = replay, .items = {&fold, 1}, .scratch = params.scratch});
    if (!status.ok()) return AtItem("commit", i, status);
  }
  for (const CommitItem& item : params.items) {
    if (item.num_tokens == 0) continue;
    const FoldItem fold = FoldOf(params.shape, item);
    FoldCpu({.shape = replay, .items = {&fold, 1}, .scratch = params.scratch});
  }
  return absl::OkStatus();
}

}  // namespace cistern::kernels
