#include "tools/bench/state_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "tools/bench/half_floats.h"

namespace cistern::tools {
namespace {

using base::StateFamily;
using base::StateSpec;
using base::TokenId;

// Tells the fields of a token apart.
enum class Part : uint32_t { kKeys = 1, kValues, kSteps, kDecays, kWeights, kConv };

uint32_t PartSeed(TokenId token, uint32_t layer, Part part) {
  uint64_t x = (uint64_t{layer} << 32 | token) * 0x9E3779B97F4A7C15 +
               static_cast<uint64_t>(part) * 0xD1B54A32D192ED03;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9;
  return static_cast<uint32_t>(x >> 32);
}

// The j-th word of a field.
inline uint32_t StateWord(uint32_t seed, uint32_t j) {
  uint32_t v = seed + j * 0x9E3779B9;
  v ^= v >> 16;
  v *= 0x7FEB352D;
  v ^= v >> 15;
  return v;
}

// In [-1, 1), in steps of 1/128: exact in bf16.
inline float Signed(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word) >> 24) * (1.0f / 128);
}

// In [0, 1).
inline float Unsigned(uint32_t word) { return static_cast<float>(word >> 8) * (1.0f / (1 << 24)); }

// What a token's fields are appended to.
class Writer {
 public:
  explicit Writer(std::byte* out) : out_(out) {}

  // `count` values from `number(j)`, as bf16 or as float32.
  template <typename F>
  void Halves(uint32_t count, F number) {
    Put<uint16_t>(count, [&](uint32_t j) { return ToBf16(number(j)); });
  }
  template <typename F>
  void Floats(uint32_t count, F number) {
    Put<float>(count, number);
  }

 private:
  template <typename T, typename F>
  void Put(uint32_t count, F number) {
    std::array<T, 512> some;
    for (uint32_t begin = 0; begin < count; begin += some.size()) {
      const uint32_t n = std::min<uint32_t>(count - begin, some.size());
      for (uint32_t j = 0; j < n; ++j) some[j] = number(begin + j);
      std::memcpy(out_, some.data(), n * sizeof(T));
      out_ += n * sizeof(T);
    }
  }

  std::byte* out_;
};

void WriteValues(uint32_t count, uint32_t seed, Writer& out) {
  out.Halves(count, [=](uint32_t j) { return Signed(StateWord(seed, j)); });
}

// Unit vectors, one a key head.
void WriteKeys(const StateSpec& spec, uint32_t seed, Writer& out) {
  for (uint32_t head = 0; head < spec.num_key_heads; ++head) {
    const uint32_t first = head * spec.key_dim;
    float squares = 0;
    for (uint32_t j = 0; j < spec.key_dim; ++j) {
      const float x = Signed(StateWord(seed, first + j));
      squares += x * x;
    }
    const float scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    out.Halves(spec.key_dim,
               [=](uint32_t j) { return scale * Signed(StateWord(seed, first + j)); });
  }
}

// The middle decay of head (or channel) i of n: 1/64 to 1/4096 a token.
float Rate(uint32_t i, uint32_t n) {
  return std::exp2(-6.0f - 6.0f * static_cast<float>(i) / static_cast<float>(std::max(1u, n - 1)));
}

constexpr uint32_t kRates = 31;  // of channels

// Log decays of heads, or of each head's channels: 0.5 to 1.5 of the rate.
void WriteDecays(const StateSpec& spec, bool channels, uint32_t seed, Writer& out) {
  if (!channels) {
    out.Floats(spec.num_heads, [&](uint32_t h) {
      return -Rate(h, spec.num_heads) * (0.5f + Unsigned(StateWord(seed, h)));
    });
    return;
  }
  std::array<float, kRates> rates;
  for (uint32_t i = 0; i < kRates; ++i) rates[i] = Rate(i, kRates);
  out.Floats(spec.num_heads * spec.key_dim, [&](uint32_t j) {
    return -rates[j % kRates] * (0.5f + Unsigned(StateWord(seed, j)));
  });
}

// The delta rules' beta. Small: a token erases what lies along its key, and must not erase the past
// within a few hundred.
void WriteWeights(uint32_t count, uint32_t seed, Writer& out) {
  out.Floats(count, [=](uint32_t h) { return 0.02f + 0.16f * Unsigned(StateWord(seed, h)); });
}

// Mamba's dt.
float Step(uint32_t word) { return 0.01f * (0.5f + Unsigned(word)); }

std::vector<float> MakeDecay(const StateSpec& spec) {
  std::vector<float> decay;
  if (spec.family == StateFamily::kMamba1) {
    for (uint32_t d = 0; d < spec.value_dim; ++d) {
      const float a = std::exp2(-static_cast<float>(d % 7));
      for (uint32_t n = 0; n < spec.key_dim; ++n) decay.push_back(-a * static_cast<float>(n + 1));
    }
  }
  if (spec.family == StateFamily::kMamba2 || spec.family == StateFamily::kLightning) {
    const float scale = spec.family == StateFamily::kMamba2 ? 100.0f : 1.0f;  // times dt
    for (uint32_t h = 0; h < spec.num_heads; ++h) decay.push_back(-scale * Rate(h, spec.num_heads));
  }
  return decay;
}

}  // namespace

StateModel::StateModel(const base::ModelSpec& spec)
    : spec_(spec.state), decay_(MakeDecay(spec.state)) {
  if (!decay_.empty()) constants_.decay.assign(spec_.num_layers, decay_.data());
}

void StateModel::Inputs(TokenId token, uint32_t layer, std::byte* inputs) const {
  const auto seed = [&](Part part) { return PartSeed(token, layer, part); };
  const uint32_t values = spec_.num_heads * spec_.value_dim;
  Writer out(inputs);
  if (spec_.family == StateFamily::kMamba1 || spec_.family == StateFamily::kMamba2) {
    const bool first = spec_.family == StateFamily::kMamba1;
    const uint32_t steps = seed(Part::kSteps);
    WriteValues(values, seed(Part::kValues), out);
    if (first) out.Halves(values, [=](uint32_t j) { return Step(StateWord(steps, j)); });
    WriteValues(spec_.num_key_heads * spec_.key_dim, seed(Part::kKeys), out);
    if (!first) out.Floats(spec_.num_heads, [=](uint32_t h) { return Step(StateWord(steps, h)); });
    return;
  }
  WriteKeys(spec_, seed(Part::kKeys), out);
  WriteValues(values, seed(Part::kValues), out);
  if (spec_.family == StateFamily::kLightning) return;
  const bool delta = spec_.family == StateFamily::kGatedDelta || spec_.family == StateFamily::kKda;
  WriteDecays(spec_, spec_.family != StateFamily::kGatedDelta, seed(Part::kDecays), out);
  if (delta) WriteWeights(spec_.num_heads, seed(Part::kWeights), out);
}

void StateModel::ConvRow(TokenId token, uint32_t layer, std::byte* row) const {
  Writer out(row);
  WriteValues(spec_.conv_channels, PartSeed(token, layer, Part::kConv), out);
}

}  // namespace cistern::tools
