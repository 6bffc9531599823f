// The temporal state of one layer in float64, advanced token by token: the recurrences as they are
// defined, written apart from kernels/, so that replay does not check the kernels with themselves.
//
//   scalar or diagonal decay   S = e^g S + k v^T            (Mamba-2: g = dt A, k = B, v = dt x)
//   delta rules                S' = e^g S;  S = S' + beta k (v - S'^T k)^T
//   Mamba-1                    h = e^(dt A) h + dt x B, entry by entry
//
// Shapes   per head S [key_dim, value_dim]; compared with temporal [num_heads, value_dim, key_dim]
// Thread   the caller's
// Source   Mamba-2 arXiv 2405.21060, gated delta rule arXiv 2412.06464, Kimi-Linear arXiv
//          2510.26692
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/state_spec.h"

namespace cistern::tools {

class ExactState {
 public:
  // The zero state. `decay` are the layer's constants (cistern/state.h); it outlives this.
  ExactState(const base::StateSpec& spec, const float* decay);

  // By `num_tokens` tokens, each StateSpec's inputs, dense.
  void Advance(const std::byte* inputs, uint32_t num_tokens);

  // |temporal - S| / |S|, or |temporal| where S is zero.
  double RelativeL2(const std::byte* temporal) const;

  void Clear();  // to zero
  // All of it, to be kept and given back: no layout that others should know.
  const std::vector<double>& values() const { return values_; }
  void set_values(const std::vector<double>& values) { values_ = values; }

 private:
  static constexpr uint32_t kLanes = 8;  // values side by side
  static constexpr uint32_t kRun = 32;   // tokens that are prepared together

  struct Run;  // a run's tokens in double, for one head

  double At(uint32_t head, uint32_t value, uint32_t key) const;
  void Prepare(const std::byte* inputs, uint32_t head, uint32_t num_tokens, Run* run) const;
  void AdvanceHead(const Run& run, uint32_t head, uint32_t num_tokens);
  void AdvanceMamba1(const std::byte* inputs);
  void Mamba1Decays(const double* step, uint32_t first, uint32_t key, double* power) const;

  const base::StateSpec spec_;
  const float* const decay_;
  const bool delta_;
  const uint64_t token_bytes_;
  const uint32_t blocks_;       // of kLanes values, the last one padded
  bool powers_ = false;         // Mamba-1: A[d][n] = (n + 1) A[d][0]
  std::vector<double> values_;  // [head][block][key][lane]
};

}  // namespace cistern::tools
