// How far each token of one segment turns: made once for a segment, then used for all its layers.
//
// Three ways to a row at its new position q:
//
//   Place       from `unrotated` rows: the engine's own op at q, bit for bit what the engine would
//               have computed.
//   ShiftIdeal  from `rotated` rows stored at p: R(q - p), angles in double, one turn for all.
//   ShiftTable  from `rotated` rows stored at p: M(q) M(p)^-1 of the engines' own tables, token by
//               token. Nearer to the engine: the one to take past 100 K tokens, where fp32 angles
//               are off by 1e-3 rad and more.
//
// A shift always starts from the stored row and never applies mscale again: M = mscale * R, so the
// ratio has none.
//
// Errors against a recomputation, per element; n = norm of the pair, u = 2^-8, eps = fp32 angle
// gap:
//
//   arithmetic     ShiftTable   ShiftIdeal
//   fp32 table     3 u n        3 u n + eps n
//   bf16 table     3 u n        4.5 u n + eps n
//   bf16 per op    5.5 u n      7 u n + eps n
//
// Lifetime  Place points into its table, which must outlive it; the shifts own their entries
// Thread    const after creation; any
// Errors    InvalidArgument: no tokens or more than kMaxTokens, a position at or past the table's
//           max_positions, tables of different dim or style
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "base/model_spec.h"
#include "kernels/rotary/rotary_table.h"

namespace cistern::kernels {

class Turns {
 public:
  static constexpr uint32_t kMaxTokens = 1u << 24;

  // No turn: NoPE and opaque rows, and rows that stay where they were computed.
  Turns() = default;
  Turns(Turns&&) = default;
  Turns& operator=(Turns&&) = default;
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  // `unrotated` rows to positions [position, position + num_tokens).
  static absl::StatusOr<Turns> Place(const RotaryTable& table, uint32_t position,
                                     uint32_t num_tokens);

  // `rotated` rows by `delta` = new position - base position, any number of tokens.
  static absl::StatusOr<Turns> ShiftIdeal(const base::RotarySpec& spec, int64_t delta);

  // `rotated` rows that `writer` placed at [base_position, + num_tokens), to `position` as `reader`
  // would have.
  static absl::StatusOr<Turns> ShiftTable(const RotaryTable& writer, uint32_t base_position,
                                          const RotaryTable& reader, uint32_t position,
                                          uint32_t num_tokens);

  // `rotated` rows that `writer` placed at [base_position, + num_tokens) back to `unrotated`:
  // M(p)^-1. Not the bits that the model computed (two bf16 roundings): for caches that can only be
  // read after rotation.
  static absl::StatusOr<Turns> Unplace(const RotaryTable& writer, uint32_t base_position,
                                       uint32_t num_tokens);

  bool identity() const { return style_ == base::RotaryStyle::kNone; }
  base::RotaryStyle style() const { return style_; }
  uint32_t dim() const { return dim_; }              // elements of k_r; 0 when identity
  bool bf16_per_op() const { return bf16_per_op_; }  // round after each operation
  // Tokens that have a turn; UINT32_MAX: any number.
  uint32_t num_tokens() const { return num_tokens_; }

  // [cos x dim/2 | sin x dim/2] of the token; needs !identity() and token < num_tokens().
  const float* At(uint32_t token) const { return entries_[step_ * size_t{token}]; }

 private:
  static Turns OwnedTurns(const base::RotarySpec& spec, uint32_t num_tokens);
  float* Owned(uint32_t token) { return &owned_[size_t{token} * dim_]; }

  base::RotaryStyle style_ = base::RotaryStyle::kNone;
  uint32_t dim_ = 0;
  bool bf16_per_op_ = false;
  uint32_t num_tokens_ = UINT32_MAX;
  size_t step_ = 0;                    // 0: one turn for all tokens
  std::vector<const float*> entries_;  // into a table or into owned_
  std::vector<float> owned_;
};

}  // namespace cistern::kernels
