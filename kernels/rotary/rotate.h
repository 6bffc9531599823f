// Turns rows of k_r: out[i] = turn(i) applied to in[i].
//
// Pair (a, b) of angle theta, c = cos, s = sin:   a' = a c - b s     b' = b c + a s
//
// Pairs are (k[2i], k[2i+1]) interleaved, or (k[i], k[i + dim/2]) half. Products and sums are fp32,
// each rounded once, never fused (FMA would change about 2 elements in 100,000); the result is
// rounded to bf16, ties to even. With bf16_per_op each product and each sum is rounded to bf16.
// NaN comes out as 0x7fc0. An identity turn copies.
//
// Shapes   in [num_rows, dim] bf16 at in_stride · out the same at out_stride · turns: num_rows
// Units    strides in bytes; no alignment is needed
// Needs    `out` is `in` (same stride) or does not overlap it
// Thread   any; keeps no state
// Errors   InvalidArgument: a null pointer, a stride below the row, fewer turns than rows; nothing
//          is written then
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

#include "kernels/rotary/turns.h"

namespace cistern::kernels {

struct RotateParams {
  const std::byte* in = nullptr;
  uint64_t in_stride = 0;
  std::byte* out = nullptr;
  uint64_t out_stride = 0;
  uint32_t num_rows = 0;
  const Turns* turns = nullptr;
  uint32_t identity_dim = 64;
};

absl::Status ValidateRotate(const RotateParams& params);

// Validates, then RotateCpu.
absl::Status Rotate(const RotateParams& params);

// The definition, and the fast form that equals it bit for bit. Params are not checked.
void RotateRef(const RotateParams& params);
void RotateCpu(const RotateParams& params);

}  // namespace cistern::kernels
