// Answers from an old state and the tokens since, without touching the state.
//
//   (Decode append)* Commit
//
// A sequence keeps the state of an earlier token and a buffer of (k, u, g) of each token after it.
// Decode answers new tokens from both and gives their u; the caller keeps k, u and g of those that
// count. Commit brings the state forward by any number of them and the buffer is empty again: every
// m tokens (deferred decode: the state is read once a token, and written once in m), or after the
// accepted prefix of a draft is known (speculative decode: rejecting all costs nothing).
//
// With n tokens since the state S, D as in fold.h, S decayed to token t written S D_t0:
//
//   u_t = b_t v_t, or  b_t (v_t - S D_t0 k_t - sum_{i<t} (k_t D_ti k_i) u_i)    for the delta rules
//   o_t = S D_t0 q_t + sum_{i<=t} (q_t D_ti k_i) u_i
//
// One pass over the state serves up to 8 new tokens.
//
// Shapes   q [num_new, num_key_heads, K] · v [num_new, num_heads, V] · weight, or null,
//          [num_new, num_heads, 1] · k, decay: [num_buffered + num_new, ...], the new ones last ·
//          u [num_buffered + num_new, num_heads, V] and out [num_new, num_heads, V] float32, at
//          token strides; heads and V lie dense
// Units    elements; scratch in floats
// Needs    g <= 0. u, out and scratch overlap nothing else, nor another item's (unchecked); states
//          are aligned to 4 bytes
// Zero     state null is the zero state: then the buffer is the whole past, and no state is read
// Exact    as fold.h: relative L2 of the answers to float64 at most 2e-6, taken over a window (one
//          answer alone may be the small difference of large numbers)
// Thread   any; keeps no state. Items may be given to several threads
// Errors   InvalidArgument names item and field; nothing is written then
//
// Source   KVBuffer: Zou & Zhong, arXiv 2605.19049, sections 3.2 to 3.4
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

#include "kernels/recurrence/recurrence.h"

namespace cistern::kernels {

inline constexpr uint32_t kMaxDecodeTokens = 256;  // buffered and new ones of one item

struct DecodeItem {
  const float* state = nullptr;  // [num_heads, V, K]
  uint32_t num_buffered = 0;
  uint32_t num_new = 0;
  TokenArray q, k, v;
  DecayArray decay;
  TokenArray weight;
  float* u = nullptr;  // read for buffered tokens, written for new ones
  size_t u_token_stride = 0;
  float* out = nullptr;
  size_t out_token_stride = 0;
};

struct DecodeParams {
  RecurrenceShape shape;
  std::span<const DecodeItem> items;
  std::span<float> scratch;  // at least DecodeScratchFloats(shape)
};

size_t DecodeScratchFloats(const RecurrenceShape& shape);

absl::Status ValidateDecode(const DecodeParams& params);

// Validates, then DecodeCpu.
absl::Status Decode(const DecodeParams& params);

// The definition (token by token, in float64; it allocates), and the fast form. Params are not
// checked.
void DecodeRef(const DecodeParams& params);
void DecodeCpu(const DecodeParams& params);

// The first num_tokens of a buffer go into the state, in place. None: nothing happens.
struct CommitItem {
  float* state = nullptr;
  uint32_t num_tokens = 0;
  TokenArray k;
  DecayArray decay;
  const float* u = nullptr;
  size_t u_token_stride = 0;  // floats from one token's u to the next's
};

struct CommitParams {
  RecurrenceShape shape;
  std::span<const CommitItem> items;
  std::span<float> scratch;  // at least FoldScratchFloats(shape)
};

// A fold of tokens whose u is known (fold.h). Errors as there.
absl::Status Commit(const CommitParams& params);

}  // namespace cistern::kernels
