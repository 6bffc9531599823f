// What the tests of recurrent state share: random layers and their tokens, and the recurrence token
// by token in float64, written here and nowhere else.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/bf16.h"
#include "kernels/recurrence/recurrence.h"
#include "test_support.h"

namespace cistern::kernels {

inline constexpr Recurrence kRecurrences[] = {Recurrence::kScalarDecay, Recurrence::kDiagonalDecay,
                                              Recurrence::kGatedDelta, Recurrence::kKda};

inline constexpr double kFoldBound = 2e-6;  // relative L2 of a state or an output

// One array of tokens: what the kernel reads, and the same numbers as doubles.
class TokenData {
 public:
  TokenData() = default;
  // `make(token, head, i)` gives each number before it is rounded to `type`.
  template <typename Make>
  TokenData(ElementType type, uint32_t num_tokens, uint32_t heads, uint32_t width, size_t gap,
            const Make& make)
      : type_(type), heads_(heads), width_(width), head_stride_(width + gap) {
    token_stride_ = heads * head_stride_ + gap;
    const size_t count = num_tokens * token_stride_ + gap;
    if (type == ElementType::kBf16) {
      halves_.assign(count, 0x7fc0);  // what lies between is not read
    } else {
      floats_.assign(count, std::nanf(""));
    }
    exact_.resize(size_t{num_tokens} * heads * width);
    for (uint32_t t = 0; t < num_tokens; ++t) {
      for (uint32_t h = 0; h < heads; ++h) {
        for (uint32_t i = 0; i < width; ++i) Put(t, h, i, make(t, h, i));
      }
    }
  }

  // The first token's numbers stand for all: a token stride of 0.
  TokenData Repeated() && {
    token_stride_ = 0;
    return std::move(*this);
  }

  bool empty() const { return exact_.empty(); }
  double operator()(uint32_t token, uint32_t head, uint32_t i = 0) const {
    if (token_stride_ == 0) token = 0;
    return exact_[(size_t{token} * heads_ + head) * width_ + i];
  }
  TokenArray From(uint32_t token) const {
    if (empty()) return {};
    const size_t at = token * token_stride_;
    const void* data = type_ == ElementType::kBf16 ? static_cast<const void*>(halves_.data() + at)
                                                   : static_cast<const void*>(floats_.data() + at);
    return {data, type_, token_stride_, head_stride_};
  }

 private:
  void Put(uint32_t token, uint32_t head, uint32_t i, double value) {
    const size_t at = token * token_stride_ + head * head_stride_ + i;
    auto rounded = static_cast<float>(value);
    if (type_ == ElementType::kBf16) {
      halves_[at] = FloatToBf16(rounded);
      rounded = Bf16ToFloat(halves_[at]);
    } else {
      floats_[at] = rounded;
    }
    exact_[(size_t{token} * heads_ + head) * width_ + i] = rounded;
  }

  ElementType type_ = ElementType::kFloat32;
  uint32_t heads_ = 0, width_ = 0;
  size_t head_stride_ = 0, token_stride_ = 0;
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
  std::vector<double> exact_;
};

// How strongly a layer forgets.
enum class DecayKind {
  kNone,    // g = 0
  kMild,    // |g| about 0.05
  kStrong,  // mild, and down to -60 for 3 of 10
  kAll60,   // -60, always
  kCut,     // mild, and 3 of 10 tokens forget everything: -infinity
  // One number for all tokens and channels of a head, -1e-4 to -4e-3, as lightning has: roundings
  // that are the same for each token add up. For each token, and once for all (token stride 0).
  kSlow,
  kSlowRepeated,
};
inline constexpr DecayKind kDecayKinds[] = {
    DecayKind::kNone, DecayKind::kMild, DecayKind::kStrong,      DecayKind::kAll60,
    DecayKind::kCut,  DecayKind::kSlow, DecayKind::kSlowRepeated};

// The tokens of one sequence of a layer.
struct Tokens {
  uint32_t count = 0;
  TokenData q, k, v, g, weight;
  std::vector<float> rates;

  DecayArray Decay(uint32_t from) const {
    return {g.From(from), rates.empty() ? nullptr : rates.data()};
  }
  double LogDecay(uint32_t token, uint32_t head, uint32_t i) const {
    return g(token, head, i) * (rates.empty() ? 1.0 : double{rates[head]});
  }
};

struct TokenOptions {
  ElementType type = ElementType::kBf16;  // of q, k, v; g and weights are float32
  DecayKind decay = DecayKind::kMild;
  bool weights = true;
  bool rates = false;
  size_t gap = 0;
  bool similar_keys = false;  // all keys and queries of a head are one, with a little noise
};

inline Tokens RandomTokens(const RecurrenceShape& shape, uint32_t count,
                           const TokenOptions& options, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  Tokens tokens;
  tokens.count = count;
  const double unit = 1 / std::sqrt(shape.key_dim);  // keys of about length 1
  std::vector<double> common(size_t{shape.num_key_heads} * shape.key_dim);
  for (double& value : common) value = unit * normal(random);
  const auto key = [&](uint32_t, uint32_t head, uint32_t i) {
    const double noise = unit * normal(random);
    return options.similar_keys ? common[head * shape.key_dim + i] + .05 * noise : noise;
  };
  std::vector<double> slow(shape.num_heads);
  for (double& value : slow) value = -1e-4 * std::pow(40, uniform(random));
  const bool is_slow =
      options.decay == DecayKind::kSlow || options.decay == DecayKind::kSlowRepeated;
  const auto decay = [&](uint32_t head) -> double {
    if (is_slow) return slow[head];
    if (options.decay == DecayKind::kNone) return 0;
    if (options.decay == DecayKind::kAll60) return -60;
    const double mild = -std::exp(normal(random) - 3);
    if (options.decay == DecayKind::kMild || uniform(random) > .3) return mild;
    if (options.decay == DecayKind::kCut) return -std::numeric_limits<double>::infinity();
    return mild - 60 * uniform(random);
  };
  if (options.rates) {
    for (uint32_t h = 0; h < shape.num_heads; ++h) {
      tokens.rates.push_back(-static_cast<float>(std::exp(normal(random))));
    }
  }
  const bool by_channel = DecaysByChannel(shape.recurrence);
  const auto make = [&](ElementType type, uint32_t heads, uint32_t width, const auto& number) {
    return TokenData(type, count, heads, width, options.gap, number);
  };
  tokens.q = make(options.type, shape.num_key_heads, shape.key_dim, key);
  tokens.k = make(options.type, shape.num_key_heads, shape.key_dim, key);
  tokens.v =
      make(options.type, shape.num_heads, shape.value_dim, [&](auto...) { return normal(random); });
  tokens.g = make(ElementType::kFloat32, shape.num_heads, by_channel ? shape.key_dim : 1,
                  [&](uint32_t, uint32_t head, uint32_t) {
                    const double g = decay(head);
                    return tokens.rates.empty() ? g : g / tokens.rates[head];
                  });
  if (options.decay == DecayKind::kSlowRepeated) tokens.g = std::move(tokens.g).Repeated();
  if (options.weights) {
    tokens.weight = make(ElementType::kFloat32, shape.num_heads, 1,
                         [&](auto...) { return 1 / (1 + std::exp(-normal(random))); });
  }
  return tokens;
}

// The state in float64, and one token at a time: recurrence.h's four lines.
class ExactState {
 public:
  ExactState(const RecurrenceShape& shape, const std::vector<float>& state)
      : shape_(shape), s_(state.begin(), state.end()) {
    s_.resize(shape.state_floats());  // empty: the zero state
  }

  // Returns o [num_heads, V].
  std::vector<double> Step(const Tokens& tokens, uint32_t t) {
    std::vector<double> out;
    for (uint32_t h = 0; h < shape_.num_heads; ++h) {
      for (uint32_t row = 0; row < shape_.value_dim; ++row) {
        out.push_back(StepRow(tokens, t, h, &s_[h * shape_.head_floats() + row * shape_.key_dim],
                              tokens.v(t, h, row)));
      }
    }
    return out;
  }
  void Run(const Tokens& tokens, uint32_t from, uint32_t to) {
    for (uint32_t t = from; t < to; ++t) Step(tokens, t);
  }
  const std::vector<double>& values() const { return s_; }

 private:
  double StepRow(const Tokens& tokens, uint32_t t, uint32_t h, double* s, double value) {
    const uint32_t key_head = shape_.key_head(h), width = shape_.key_dim;
    double seen = 0, out = 0;
    for (uint32_t d = 0; d < width; ++d) {
      s[d] *= std::exp(tokens.LogDecay(t, h, DecaysByChannel(shape_.recurrence) ? d : 0));
      seen += s[d] * tokens.k(t, key_head, d);
    }
    if (IsDelta(shape_.recurrence)) value -= seen;
    if (!tokens.weight.empty()) value *= tokens.weight(t, h);
    for (uint32_t d = 0; d < width; ++d) {
      s[d] += value * tokens.k(t, key_head, d);
      out += s[d] * tokens.q(t, key_head, d);
    }
    return out;
  }

  RecurrenceShape shape_;
  std::vector<double> s_;
};

// ||a - b|| / ||b||; where b is zero, ||a||. NaN and infinities come out as such.
template <typename A, typename B>
double RelativeL2(const A& a, const B& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
    norm += double{b[i]} * double{b[i]};
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

inline std::vector<float> RandomState(const RecurrenceShape& shape, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> state(shape.state_floats());
  for (float& value : state) value = normal(random);
  return state;
}

}  // namespace cistern::kernels
