// The state of one layer behind a log: base/state_spec.h's bytes, folded.
//
// A log keeps, token by token, what one layer was fed with. Which of its fields is k, v, the decay
// or the weight of which recurrence is known here, and nowhere else:
//
//   family                     folded as                  with the layer's constants `decay`
//   kMamba1                    FoldMamba1                 A [d_inner, d_state]
//   kMamba2                    scalar decay, g = dt A     A [num_heads]
//   kLightning                 scalar decay               g [num_heads], the same for each token
//   kGatedLinear               diagonal decay             null: decays are in the log
//   kGatedDelta, kKda          the same                   null
//
// Shapes   log [num_tokens], each the spec's inputs, dense, in StateSpec's order · state_in,
//          state_out the spec's temporal state, dense
// Units    token_stride in bytes; scratch in floats
// Needs    constants and decays in the log <= 0. state_out is state_in or does not overlap it.
//          Scratch is the caller's alone
// Aligned  log and token_stride to 2 bytes, states to their elements. Float32 fields may lie at any
//          even address; where they are not aligned to 4 bytes, they are copied, 16 tokens at a
//          time
// Zero     state_in null is the zero state; num_tokens 0 copies it bit by bit (or does nothing in
//          place)
// Exact    as fold.h. A bf16 state is widened, folded in float32 and rounded once, at the end
// Thread   any; keeps no state
// Errors   InvalidArgument names the field; nothing is written then
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

#include "base/state_spec.h"

namespace cistern::kernels {

struct LogFoldParams {
  base::StateSpec spec;
  const std::byte* log = nullptr;
  size_t token_stride = 0;
  uint32_t num_tokens = 0;
  const float* decay = nullptr;
  const std::byte* state_in = nullptr;
  std::byte* state_out = nullptr;
  std::span<float> scratch;  // at least LogFoldScratchFloats(spec)
};

size_t LogFoldScratchFloats(const base::StateSpec& spec);

absl::Status ValidateLogFold(const LogFoldParams& params);

// Validates, then FoldLogCpu.
absl::Status FoldLog(const LogFoldParams& params);

// Through FoldRef and FoldMamba1Ref, the definitions; and through the fast forms. Params are not
// checked.
void FoldLogRef(const LogFoldParams& params);
void FoldLogCpu(const LogFoldParams& params);

}  // namespace cistern::kernels
