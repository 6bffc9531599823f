// Rows that can be checked: a deterministic function of token and layer, the rotary part turned by
// real RoPE at its position; opaque rows are a function of token, layer and position. Written apart
// from kernels/, so that replay does not check the kernels with themselves.
//
// Arithmetic: fp32 table (angle = fl32(position * inv_freq), cos and sin rounded to fp32), fp32
// math, one rounding to bf16: what SGLang, FlashInfer and vLLM's fp32-table path do.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/key.h"
#include "base/model_spec.h"

namespace cistern::tools {

class RowModel {
 public:
  static constexpr size_t kMaxRowBytes = 1152;  // of a row that is not opaque
  static constexpr size_t kMaxRotary = 64;

  explicit RowModel(const base::ModelSpec& spec);

  // The whole row as a worker has it in its cache at `position`: row_bytes bytes.
  void WriteRow(base::TokenId token, uint32_t layer, uint32_t position, std::byte* row);
  // k_r before RoPE: rotary_bytes bytes.
  void WritePreRope(base::TokenId token, uint32_t layer, std::byte* k_r) const;

  // Bit for bit.
  bool RowEquals(base::TokenId token, uint32_t layer, uint32_t position, const std::byte* row);
  // The position-free part bit for bit, the rotary part within 3 u n + eps n per component (u =
  // 2^-8, n = the pair's norm, eps = the engine's angle error at positions up to `position` for a
  // move from `base`), the stated bound of a move from rotated rows. Not for opaque rows.
  bool RowNear(base::TokenId token, uint32_t layer, uint32_t base, uint32_t position,
               const std::byte* row);

 private:
  using Pairs = std::array<float, kMaxRotary>;
  void PreRope(base::TokenId token, uint32_t layer, Pairs* k_r) const;
  void Rotated(base::TokenId token, uint32_t layer, uint32_t position, Pairs* k_r);
  const float* CosSin(uint32_t position);  // [pairs] cos, [pairs] sin

  const base::ModelSpec spec_;
  const uint32_t fixed_bytes_;       // position-free bytes at the row's front
  std::vector<std::byte> expected_;  // [row_bytes], of the row that is being looked at
  std::vector<float> inv_freq_;
  std::vector<double> inv_freq_exact_;
  std::vector<float> table_;  // [position][2][pairs]
  uint32_t table_positions_ = 0;
};

}  // namespace cistern::tools
