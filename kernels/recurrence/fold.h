// The state after C more tokens: a checkpoint and a log of inputs become the next checkpoint.
//
//   state_out = the recurrence of recurrence.h, applied to state_in for num_tokens tokens
//
// Chunkwise: tokens go in chunks of 16, and a state row passes through the processor once for all
// chunks of a pass (256 tokens), so that each byte of state is read once and written once. Per
// chunk, with D_ij = prod_{j<s<=i} e^{g_s} (per channel for diagonal decay and KDA):
//
//   S_C = S_0 decayed + sum_i u_i (D_Ci k_i)^T
//   u_i = b_i v_i, or the solution of  u_i = b_i (v_i - S_0 D_i0 k_i - sum_{j<i} (k_i D_ij k_j)
//   u_j)
//
// D_ij is e to the sum of the g between, never a quotient: no exponent is positive, so that decays
// of -60 a token, or of -infinity, neither overflow nor cost digits of what remains. Nor does it
// come from more than 16 factors that were rounded one by one (chunk-inl.h).
//
// Shapes   state_in, state_out [num_heads, V, K] float32, dense · k [C, num_key_heads, K] ·
//          v [C, num_heads, V] · decay: see DecayArray · weight [C, num_heads, 1] or null (all 1)
// Units    elements; scratch in floats
// Needs    g <= 0 (with rates: log * rate <= 0). state_out is state_in or does not overlap it, nor
//          another item's (unchecked); states aligned to 4 bytes. Scratch is the caller's alone
// Zero     state_in null is the zero state; num_tokens 0 copies (or does nothing in place)
// Exact    float32 sums. Relative L2 to a float64 recurrence of the same inputs is at most 2e-6 up
//          to 256 tokens, whatever their decays: also one for all tokens, as lightning has. Not the
//          same bits on every instruction set
// Thread   any; keeps no state. Items, or ranges of heads, may be folded by several threads at once
// Errors   InvalidArgument names item and field; nothing is written then
//
// Source   chunkwise form and WY representation: Yang et al., arXiv 2406.06484 and 2412.06464; per
//          channel: Kimi Linear, arXiv 2510.26692
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

#include "kernels/recurrence/recurrence.h"

namespace cistern::kernels {

// One sequence of a batch; sequences differ in length.
struct FoldItem {
  const float* state_in = nullptr;
  float* state_out = nullptr;
  uint32_t num_tokens = 0;
  TokenArray k, v;
  DecayArray decay;
  TokenArray weight;
};

struct FoldParams {
  RecurrenceShape shape;
  std::span<const FoldItem> items;
  std::span<float> scratch;  // at least FoldScratchFloats(shape)
};

size_t FoldScratchFloats(const RecurrenceShape& shape);

absl::Status ValidateFold(const FoldParams& params);

// Validates, then FoldCpu.
absl::Status Fold(const FoldParams& params);

// The definition (token by token, in float64, rounded once at the end; it allocates), and the fast
// form. Params are not checked.
void FoldRef(const FoldParams& params);
void FoldCpu(const FoldParams& params);

}  // namespace cistern::kernels
