// The recurrences of base::StateSpec's families in the plainest form: one entry at a time, float64,
// indices written out. For tests; slow.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/state_spec.h"

namespace cistern::tools {

class NaiveState {
 public:
  NaiveState(const base::StateSpec& spec, const float* decay) : spec_(spec), decay_(decay) {
    state_.resize(size_t{spec.num_heads} * spec.value_dim * spec.key_dim);
  }

  // One token's inputs.
  void Step(const std::byte* inputs) {
    using F = base::StateFamily;
    const uint32_t heads = spec_.num_heads, keys = spec_.key_dim, values = spec_.value_dim;
    const uint32_t all_keys = spec_.num_key_heads * keys, all_values = heads * values;
    at_ = inputs;
    std::vector<double> x, dt, k, g, beta;
    if (spec_.family == F::kMamba1 || spec_.family == F::kMamba2) {
      x = Halves(all_values);
      if (spec_.family == F::kMamba1) dt = Halves(all_values);
      k = Halves(all_keys);
      if (spec_.family == F::kMamba2) dt = Floats(heads);
    } else {
      k = Halves(all_keys);
      x = Halves(all_values);
      if (spec_.family == F::kGatedDelta) g = Floats(heads);
      if (spec_.family == F::kGatedLinear || spec_.family == F::kKda) g = Floats(heads * keys);
      if (spec_.family == F::kGatedDelta || spec_.family == F::kKda) beta = Floats(heads);
    }
    for (uint32_t h = 0; h < heads; ++h) {
      const uint32_t kh = h / (heads / spec_.num_key_heads);
      for (uint32_t v = 0; v < values; ++v) {
        double* s = &state_[(size_t{h} * values + v) * keys];
        double read = 0;
        for (uint32_t j = 0; j < keys; ++j) {
          const double rate = spec_.family == F::kMamba1       ? dt[v] * decay_[v * keys + j]
                              : spec_.family == F::kMamba2     ? dt[h] * decay_[h]
                              : spec_.family == F::kLightning  ? decay_[h]
                              : spec_.family == F::kGatedDelta ? g[h]
                                                               : g[h * keys + j];
          s[j] *= std::exp(rate);
          read += s[j] * k[kh * keys + j];
        }
        double write = x[h * values + v];
        if (spec_.family == F::kMamba1) write *= dt[v];
        if (spec_.family == F::kMamba2) write *= dt[h];
        if (!beta.empty()) write = beta[h] * (write - read);
        for (uint32_t j = 0; j < keys; ++j) s[j] += k[kh * keys + j] * write;
      }
    }
  }

  const std::vector<double>& state() const { return state_; }

  // As a layer keeps it, rounded once.
  std::vector<std::byte> Bytes() const {
    std::vector<std::byte> bytes(spec_.temporal_bytes());
    for (size_t i = 0; i < state_.size(); ++i) {
      const auto value = static_cast<float>(state_[i]);
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      if (spec_.temporal_type == base::StateType::kFloat32) {
        std::memcpy(&bytes[i * 4], &bits, 4);
      } else {
        const auto half = static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
        std::memcpy(&bytes[i * 2], &half, 2);
      }
    }
    return bytes;
  }

 private:
  std::vector<double> Halves(uint32_t count) {
    std::vector<double> numbers;
    for (uint32_t i = 0; i < count; ++i, at_ += 2) {
      uint16_t half;
      std::memcpy(&half, at_, 2);
      const uint32_t bits = uint32_t{half} << 16;
      float value;
      std::memcpy(&value, &bits, 4);
      numbers.push_back(value);
    }
    return numbers;
  }
  std::vector<double> Floats(uint32_t count) {
    std::vector<double> numbers;
    for (uint32_t i = 0; i < count; ++i, at_ += 4) {
      float value;
      std::memcpy(&value, at_, 4);
      numbers.push_back(value);
    }
    return numbers;
  }

  const base::StateSpec spec_;
  const float* const decay_;
  const std::byte* at_ = nullptr;
  std::vector<double> state_;  // [H][V][K]
};

// A small layer of each family: odd sizes, heads that share keys where the family has them.
inline std::vector<base::StateSpec> SmallStates() {
  using F = base::StateFamily;
  using base::StateType;
  std::vector<base::StateSpec> specs = {
      {F::kMamba1, 2, 1, 1, 5, 19, 3, 19},      {F::kMamba2, 2, 6, 2, 5, 7, 3, 62},
      {F::kLightning, 2, 3, 3, 7, 7, 0, 0},     {F::kGatedLinear, 2, 4, 4, 6, 9, 3, 10},
      {F::kGatedDelta, 2, 6, 3, 8, 11, 3, 114}, {F::kKda, 2, 3, 3, 9, 9, 3, 81}};
  return specs;
}

}  // namespace cistern::tools
