#include "tools/bench/pools/numpy_random.h"

#include <cmath>
#include <numbers>

namespace cistern::tools {
namespace {

// SeedSequence: four words of entropy, each mixed into each other, then read out twice over.
class SeedWords {
 public:
  explicit SeedWords(uint32_t seed) {
    for (size_t i = 0; i < pool_.size(); ++i) pool_[i] = Hash(i == 0 ? seed : 0);
    for (size_t from = 0; from < pool_.size(); ++from) {
      for (size_t to = 0; to < pool_.size(); ++to) {
        if (from != to) pool_[to] = Mix(pool_[to], Hash(pool_[from]));
      }
    }
  }
  uint64_t Next64() {
    const uint64_t low = Next32();
    return low | uint64_t{Next32()} << 32;
  }

 private:
  static uint32_t Fold(uint32_t value) { return value ^ value >> 16; }
  uint32_t Hash(uint32_t value) {
    value ^= hash_;
    hash_ *= 0x931e8875;
    return Fold(value * hash_);
  }
  static uint32_t Mix(uint32_t x, uint32_t y) { return Fold(0xca01f9dd * x - 0x4973f715 * y); }
  uint32_t Next32() {
    uint32_t value = pool_[at_++ % pool_.size()] ^ out_;
    out_ *= 0x58f38ded;
    return Fold(value * out_);
  }

  std::array<uint32_t, 4> pool_{};
  uint32_t hash_ = 0x43b0d7e5;
  uint32_t out_ = 0x8b51f9dd;
  size_t at_ = 0;
};

constexpr size_t kLayers = 256;

// Layer i is a rectangle of width[i] * 2^bits, height[i - 1] - height[i] high (below height[0] for
// the base, whose rectangle and tail have the area of every other layer); below inside[i] of 2^bits
// a draw is surely under the curve.
struct Ziggurat {
  std::array<uint64_t, kLayers> inside;
  std::array<double, kLayers> width;
  std::array<double, kLayers> height;
};

// `edge` is where the tail begins, `area` that of a layer; `density` falls from 1 at 0 and
// `inverse` is its inverse.
template <typename Density, typename Inverse>
Ziggurat MakeZiggurat(long double edge, long double area, int bits, Density density,
                      Inverse inverse) {
  Ziggurat z;
  const long double scale = std::ldexp(1.0L, bits);
  const long double base = area / density(edge);  // width of a rectangle with the base's area
  z.inside[0] = static_cast<uint64_t>(edge / base * scale);
  z.inside[1] = 0;
  z.width[0] = static_cast<double>(base / scale);
  z.width[kLayers - 1] = static_cast<double>(edge / scale);
  z.height[0] = 1;
  z.height[kLayers - 1] = static_cast<double>(density(edge));
  long double x = edge;
  for (size_t i = kLayers - 2; i > 0; --i) {
    const long double next = inverse(area / x + density(x));
    z.inside[i + 1] = static_cast<uint64_t>(next / x * scale);
    z.width[i] = static_cast<double>(next / scale);
    z.height[i] = static_cast<double>(density(next));
    x = next;
  }
  return z;
}

constexpr long double kNormalEdge = 3.6541528853610087963519472518L;
constexpr long double kExponentialEdge = 7.6971174701310497140446280481L;
constexpr int kNormalBits = 52;
constexpr int kExponentialBits = 53;

const Ziggurat& NormalZiggurat() {
  static const Ziggurat z = [] {
    auto density = [](long double x) { return std::exp(-0.5L * x * x); };
    const long double tail = std::sqrt(std::numbers::pi_v<long double> / 2) *
                             std::erfc(kNormalEdge / std::numbers::sqrt2_v<long double>);
    return MakeZiggurat(kNormalEdge, kNormalEdge * density(kNormalEdge) + tail, kNormalBits,
                        density, [](long double y) { return std::sqrt(-2 * std::log(y)); });
  }();
  return z;
}

const Ziggurat& ExponentialZiggurat() {
  static const Ziggurat z = [] {
    auto density = [](long double x) { return std::exp(-x); };
    return MakeZiggurat(kExponentialEdge, (kExponentialEdge + 1) * density(kExponentialEdge),
                        kExponentialBits, density, [](long double y) { return -std::log(y); });
  }();
  return z;
}

}  // namespace

NumpyRandom::NumpyRandom(uint32_t seed)
    : multiplier_(Word{0x2360ed051fc65da4} << 64 | 0x4385df649fccf645) {
  SeedWords words(seed);
  uint64_t word[4];
  for (uint64_t& w : word) w = words.Next64();
  increment_ = (Word{word[2]} << 64 | word[3]) << 1 | 1;
  Step();
  state_ += Word{word[0]} << 64 | word[1];
  Step();
}

uint64_t NumpyRandom::Next64() {
  Step();
  const auto high = static_cast<uint64_t>(state_ >> 64), low = static_cast<uint64_t>(state_);
  const auto turn = static_cast<unsigned>(high >> 58);
  const uint64_t folded = high ^ low;
  return folded >> turn | folded << (-turn & 63);
}

uint32_t NumpyRandom::Next32() {
  has_half_ = !has_half_;
  if (!has_half_) return half_;
  const uint64_t both = Next64();
  half_ = static_cast<uint32_t>(both >> 32);
  return static_cast<uint32_t>(both);
}

uint64_t NumpyRandom::Integer(uint64_t low, uint64_t high) {
  const uint64_t span = high - low;
  const uint64_t threshold = (uint64_t{1} << 32) % span;
  uint64_t product = Next32() * span;
  while (static_cast<uint32_t>(product) < threshold) product = Next32() * span;
  return low + (product >> 32);
}

double NumpyRandom::Normal() {
  const Ziggurat& z = NormalZiggurat();
  while (true) {
    const uint64_t bits = Next64();
    const size_t layer = bits & 0xff;
    const bool negative = (bits >> 8 & 1) != 0;
    const uint64_t magnitude = bits >> 9 & ((uint64_t{1} << kNormalBits) - 1);
    const double x = static_cast<double>(magnitude) * z.width[layer];
    if (magnitude < z.inside[layer]) return negative ? -x : x;
    if (layer == 0) {
      const auto edge = static_cast<double>(kNormalEdge);
      while (true) {
        const double beyond = -std::log1p(-Uniform()) / edge;
        const double y = -std::log1p(-Uniform());
        if (y + y > beyond * beyond)
          return (magnitude >> 8 & 1) != 0 ? -(edge + beyond) : edge + beyond;
      }
    }
    if ((z.height[layer - 1] - z.height[layer]) * Uniform() + z.height[layer] <
        std::exp(-0.5 * x * x))
      return negative ? -x : x;
  }
}

double NumpyRandom::Exponential() {
  const Ziggurat& z = ExponentialZiggurat();
  while (true) {
    const uint64_t bits = Next64() >> 3;
    const size_t layer = bits & 0xff;
    const uint64_t magnitude = bits >> 8;
    const double x = static_cast<double>(magnitude) * z.width[layer];
    if (magnitude < z.inside[layer]) return x;
    if (layer == 0) return static_cast<double>(kExponentialEdge) - std::log1p(-Uniform());
    if ((z.height[layer - 1] - z.height[layer]) * Uniform() + z.height[layer] < std::exp(-x))
      return x;
  }
}

}  // namespace cistern::tools
