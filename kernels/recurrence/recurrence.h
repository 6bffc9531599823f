// The words of recurrent state layers: Mamba-2, lightning and gated linear attention, gated delta
// rule, KDA.
//
// One head keeps a state S [V, K], float32, row-major: a row per value channel, the layout in which
// engines keep it (Mamba-2: head_dim x d_state; gated delta rule: dv x dk). Token t brings a key
// k_t [K], a value v_t [V], a log decay g_t <= 0 and a weight b_t (1 when there is none):
//
//   scalar decay    S_t = e^{g_t} S_{t-1} + b_t v_t k_t^T            g_t one number
//   diagonal decay  S_t = S_{t-1} Diag(e^{g_t}) + b_t v_t k_t^T      g_t [K]
//   gated delta     S' = e^{g_t} S_{t-1};  S_t = S' + b_t (v_t - S' k_t) k_t^T
//   KDA             S' = S_{t-1} Diag(e^{g_t});  the same
//
// A query reads o_t = S_t q_t. Keys and queries come as the model gives them to its recurrence:
// behind convolution and activation, normalised (the delta rules: to length 1), and any scale, like
// 1/sqrt(K), is in q. g may be -infinity: everything is forgotten.
//
// All four are one affine form, S_t = (S_{t-1} decayed) + u_t k_t^T with u_t = b_t v_t, or
// b_t (v_t - S' k_t) for the delta rules: who keeps (k, u, g) of a token can replay it without v, b
// or a dot product.
//
//   Mamba-2 (SSD)   scalar decay: k = B, v = x, b = dt, g = dt with rates = A
//   lightning       scalar decay: g of each head is constant (token_stride 0), no b
//   GLA             diagonal decay, no b
//   Qwen3-Next      gated delta, b = beta          Kimi Linear: KDA, b = beta
//
// Source   arXiv 2405.21060 (Mamba-2, Dao & Gu), 2501.08313 (lightning), 2312.06635 (GLA),
//          2412.06464 (gated delta rule), 2510.26692 (KDA, Kimi Linear)
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cistern::kernels {

enum class Recurrence : uint8_t { kScalarDecay, kDiagonalDecay, kGatedDelta, kKda };

constexpr bool DecaysByChannel(Recurrence r) {
  return r == Recurrence::kDiagonalDecay || r == Recurrence::kKda;
}
constexpr bool IsDelta(Recurrence r) {
  return r == Recurrence::kGatedDelta || r == Recurrence::kKda;
}
// What replays tokens whose u is known.
constexpr Recurrence ReplayOf(Recurrence r) {
  return DecaysByChannel(r) ? Recurrence::kDiagonalDecay : Recurrence::kScalarDecay;
}

enum class ElementType : uint8_t { kFloat32, kBf16 };

// One layer. Value head h reads key head h / (num_heads / num_key_heads).
struct RecurrenceShape {
  Recurrence recurrence = Recurrence::kScalarDecay;
  uint32_t num_heads = 0;      // value heads: states
  uint32_t num_key_heads = 0;  // divides num_heads; Mamba-2: n_groups
  uint32_t key_dim = 0;        // K; Mamba-2: d_state
  uint32_t value_dim = 0;      // V; Mamba-2: head_dim

  static constexpr uint32_t kMaxDim = 1024;  // of K and of V
  static constexpr uint32_t kMaxHeads = 1u << 16;

  size_t head_floats() const { return size_t{key_dim} * value_dim; }
  size_t state_floats() const { return num_heads * head_floats(); }
  uint32_t key_head(uint32_t head) const { return head / (num_heads / num_key_heads); }
};

// What each token brings, [tokens, heads, width]; the width lies dense. Strides in elements; a
// stride of 0 repeats. Aligned to its elements.
struct TokenArray {
  const void* data = nullptr;
  ElementType type = ElementType::kFloat32;
  size_t token_stride = 0;
  size_t head_stride = 0;

  const std::byte* At(size_t token, size_t head) const {
    const size_t element = token * token_stride + head * head_stride;
    return static_cast<const std::byte*>(data) + element * (type == ElementType::kBf16 ? 2 : 4);
  }
};

// g, and what it is made of.
struct DecayArray {
  TokenArray log;                // [tokens, num_heads, 1], or K wide when it decays by channel
  const float* rates = nullptr;  // [num_heads]: g = log * rate (Mamba-2: dt * A); null: g = log
};

// InvalidArgument names the field.
absl::Status ValidateShape(const RecurrenceShape& shape);
absl::Status ValidateTokens(const TokenArray& tokens, absl::string_view name);

}  // namespace cistern::kernels
