// The fold of a Mamba-1 layer, whose decay differs in every element of its state h [D, N]:
//
//   h_t[c][n] = e^{dt_t[c] A[c][n]} h_{t-1}[c][n] + dt_t[c] x_t[c] B_t[n]
//
// It is recurrence.h's diagonal decay with a head per channel (V = 1, K = N), whose decays would
// weigh N times the inputs; here they are made from dt and A on the way. A channel's row passes
// once for up to 256 tokens. 16 by 16 they are summed on their own, token by token, and what was
// before them decays by e^{A sum dt}: every factor is <= 1.
//
// Shapes   state_in, state_out [D, N] float32, dense · x, dt [C, D] · b [C, N] (head_stride
//          unused) · a [D, N] float32, dense
// Units    elements; scratch in floats
// Needs    a < 0, dt >= 0 (after its softplus). state_out is state_in or does not overlap it, nor
//          another item's (unchecked)
// Zero     state_in null is the zero state; num_tokens 0 copies (or does nothing in place)
// Exact    as fold.h
// Thread   any; keeps no state
// Errors   InvalidArgument names item and field; nothing is written then
//
// Source   Mamba: Gu & Dao, arXiv 2312.00752, equation 2 with the discretisation that its code uses
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

#include "kernels/recurrence/recurrence.h"

namespace cistern::kernels {

struct Mamba1Item {
  const float* state_in = nullptr;
  float* state_out = nullptr;
  uint32_t num_tokens = 0;
  TokenArray x, dt, b;
};

struct Mamba1Params {
  uint32_t num_channels = 0;  // D
  uint32_t state_dim = 0;     // N
  const float* a = nullptr;
  std::span<const Mamba1Item> items;
  std::span<float> scratch;  // at least Mamba1ScratchFloats(state_dim)

  static constexpr uint32_t kMaxChannels = 1u << 20;
  static constexpr uint32_t kMaxStateDim = 256;
};

size_t Mamba1ScratchFloats(uint32_t state_dim);

absl::Status ValidateMamba1(const Mamba1Params& params);

// Validates, then FoldMamba1Cpu.
absl::Status FoldMamba1(const Mamba1Params& params);

// The definition (token by token, in float64; it allocates), and the fast form. Params are not
// checked.
void FoldMamba1Ref(const Mamba1Params& params);
void FoldMamba1Cpu(const Mamba1Params& params);

}  // namespace cistern::kernels
