#include "tools/bench/states/states_work.h"

#include <algorithm>
#include <cmath>

#include "kernels/bf16.h"

namespace cistern::tools {
namespace {

constexpr size_t kTable = 1 << 16;

// Numbers are drawn once and repeated from changing places: millions of them are wanted.
template <typename Make>
std::vector<float> Table(uint64_t seed, const Make& make) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> table(kTable);
  for (float& value : table) value = make(normal(random));
  return table;
}

template <typename Element, typename Convert>
void Repeat(const std::vector<float>& table, uint64_t seed, std::span<Element> out,
            const Convert& convert) {
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < out.size();) {
    const size_t from = random() % (kTable / 2);
    const size_t count = std::min(out.size() - i, kTable / 2);
    for (size_t n = 0; n < count; ++n) out[i + n] = convert(table[from + n]);
    i += count;
  }
}

}  // namespace

uint32_t SequencesOf(const StatesCase& c, uint64_t region_bytes) {
  const uint64_t batch_bytes = c.batch * c.layer.state_bytes();
  return c.batch * static_cast<uint32_t>((region_bytes + batch_bytes - 1) / batch_bytes);
}

void FillStates(StateRegion& region, uint64_t seed) {
  const std::vector<float> table = Table(seed, [](float x) { return x; });
  auto* const floats = reinterpret_cast<float*>(region.memory().data());
  Repeat(table, seed, std::span(floats, region.memory().size() / sizeof(float)),
         [](float x) { return x; });
}

TokenRegion::TokenRegion(const StatesLayer& layer, uint32_t tokens, uint32_t count, uint64_t seed)
    : layer_(layer), tokens_(tokens) {
  const kernels::RecurrenceShape& shape = layer.shape;
  const size_t all = size_t{tokens} * count;
  const float unit = 1 / std::sqrt(static_cast<float>(shape.key_dim));
  const auto bits = [](float x) { return kernels::FloatToBf16(x); };
  const auto same = [](float x) { return x; };
  const std::vector<float> keys = Table(seed, [unit](float x) { return unit * x; });
  k_.resize(all * shape.num_key_heads * shape.key_dim);
  q_.resize(k_.size());
  v_.resize(all * shape.num_heads * shape.value_dim);
  Repeat(keys, seed + 1, std::span(k_), bits);
  Repeat(keys, seed + 2, std::span(q_), bits);
  Repeat(Table(seed, same), seed + 3, std::span(v_), bits);

  if (kernels::DecaysByChannel(shape.recurrence)) decay_width_ = shape.key_dim;
  if (layer.mamba1) weight_width_ = shape.value_dim;
  if (layer.rates || layer.mamba1) {
    rates_.resize(layer.mamba1 ? shape.head_floats() : shape.num_heads);
    Repeat(Table(seed, [](float x) { return -std::exp(x / 2); }), seed + 4, std::span(rates_),
           same);
  }
  const float sign = layer.rates ? 1.0f : -1.0f;  // dt, or g itself
  const auto step = [](float x) { return std::exp(x - 3); };
  if (!layer.mamba1) {
    g_.resize(layer.constant_decay ? shape.num_heads : all * shape.num_heads * decay_width_);
    Repeat(Table(seed, step), seed + 5, std::span(g_), [sign](float x) { return sign * x; });
  }
  if (layer.constant_decay || layer.rates || layer.family == "gla") return;
  weight_.resize(all * shape.num_heads * weight_width_);
  if (layer.mamba1) {
    Repeat(Table(seed, step), seed + 6, std::span(weight_), same);
  } else {
    Repeat(Table(seed, [](float x) { return 1 / (1 + std::exp(-x)); }), seed + 6,
           std::span(weight_), same);
  }
}

kernels::TokenArray TokenRegion::K(uint32_t sequence, uint32_t from) const {
  const size_t row = size_t{layer_.shape.num_key_heads} * layer_.shape.key_dim;
  return {k_.data() + (size_t{sequence} * tokens_ + from) * row, kernels::ElementType::kBf16, row,
          layer_.shape.key_dim};
}

kernels::TokenArray TokenRegion::Q(uint32_t sequence, uint32_t from) const {
  kernels::TokenArray q = K(sequence, from);
  q.data = q_.data() + (static_cast<const uint16_t*>(q.data) - k_.data());
  return q;
}

kernels::TokenArray TokenRegion::V(uint32_t sequence, uint32_t from) const {
  const size_t row = size_t{layer_.shape.num_heads} * layer_.shape.value_dim;
  return {v_.data() + (size_t{sequence} * tokens_ + from) * row, kernels::ElementType::kBf16, row,
          layer_.shape.value_dim};
}

kernels::DecayArray TokenRegion::Decay(uint32_t sequence, uint32_t from) const {
  const float* const rates = layer_.rates ? rates_.data() : nullptr;
  if (layer_.constant_decay) return {{g_.data(), kernels::ElementType::kFloat32, 0, 1}, rates};
  const size_t row = size_t{layer_.shape.num_heads} * decay_width_;
  return {{g_.data() + (size_t{sequence} * tokens_ + from) * row, kernels::ElementType::kFloat32,
           row, decay_width_},
          rates};
}

kernels::TokenArray TokenRegion::Weight(uint32_t sequence, uint32_t from) const {
  if (layer_.rates) return Decay(sequence, from).log;  // dt
  if (weight_.empty()) return {};
  const size_t row = size_t{layer_.shape.num_heads} * weight_width_;
  return {weight_.data() + (size_t{sequence} * tokens_ + from) * row,
          kernels::ElementType::kFloat32, row, weight_width_};
}

double RelativeL2(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(norm == 0 ? difference : difference / norm);
}

}  // namespace cistern::tools
