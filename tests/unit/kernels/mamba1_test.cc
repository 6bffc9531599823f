// The Mamba-1 fold against its recurrence in float64, and each call that must be refused.
#include "kernels/recurrence/mamba1.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "recurrence_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

class Layer {
 public:
  Layer(uint32_t channels, uint32_t state_dim, uint32_t num_tokens, ElementType type,
        double strongest, std::mt19937_64& random)
      : channels_(channels), state_dim_(state_dim) {
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> uniform;
    const auto number = [&](auto...) { return normal(random); };
    const auto step = [&](auto...) {  // dt of 0, small, or as strong as asked
      const double kind = uniform(random);
      return kind < .1 ? 0 : kind < .7 ? std::exp(normal(random) - 3) : strongest * uniform(random);
    };
    x_ = TokenData(type, num_tokens, 1, channels, 3, number);
    dt_ = TokenData(type, num_tokens, 1, channels, 0, step);
    b_ = TokenData(type, num_tokens, 1, state_dim, 1, number);
    for (uint32_t i = 0; i < channels * state_dim; ++i) {
      a_.push_back(-static_cast<float>(std::exp(normal(random) / 2)));
      state_.push_back(static_cast<float>(normal(random)));
    }
  }

  std::vector<double> Exact(uint32_t num_tokens, bool zero_state) const {
    std::vector<double> h(state_.begin(), state_.end());
    if (zero_state) h.assign(h.size(), 0);
    for (uint32_t t = 0; t < num_tokens; ++t) {
      for (uint32_t c = 0; c < channels_; ++c) {
        for (uint32_t n = 0; n < state_dim_; ++n) {
          double& value = h[c * state_dim_ + n];
          value = std::exp(dt_(t, 0, c) * a_[c * state_dim_ + n]) * value +
                  dt_(t, 0, c) * x_(t, 0, c) * b_(t, 0, n);
        }
      }
    }
    return h;
  }
  Mamba1Item Item(uint32_t from, uint32_t to, const float* in, float* out) const {
    return {in, out, to - from, x_.From(from), dt_.From(from), b_.From(from)};
  }
  std::vector<float> Folded(uint32_t from, uint32_t to, const float* in, bool reference) const {
    std::vector<float> out(a_.size(), std::nanf("")), scratch(Mamba1ScratchFloats(state_dim_));
    const Mamba1Item item = Item(from, to, in, out.data());
    const Mamba1Params params = Params({&item, 1}, scratch);
    EXPECT_TRUE(ValidateMamba1(params).ok()) << ValidateMamba1(params);
    reference ? FoldMamba1Ref(params) : FoldMamba1Cpu(params);
    return out;
  }
  Mamba1Params Params(std::span<const Mamba1Item> items, std::span<float> scratch) const {
    return {channels_, state_dim_, a_.data(), items, scratch};
  }
  std::vector<float>& state() { return state_; }
  // One dt and x for all tokens, and one A for all elements.
  void Repeat(double dt, double x) {
    const auto make = [&](double value) {
      return TokenData(ElementType::kFloat32, 1, 1, channels_, 0, [&](auto...) { return value; })
          .Repeated();
    };
    dt_ = make(dt);
    x_ = make(x);
    a_.assign(a_.size(), -1);
  }

 private:
  uint32_t channels_, state_dim_;
  TokenData x_, dt_, b_;
  std::vector<float> a_, state_;
};

TEST(FoldMamba1, EqualsTheRecurrence) {
  std::mt19937_64 random(81);
  for (int round = 0; round < 30; ++round) {
    const uint32_t channels = Pick(1, 50, random), state_dim = round % 2 ? 16 : Pick(1, 40, random);
    const uint32_t count = round % 6 == 0 ? Pick(250, 300, random) : Pick(0, 40, random);
    Layer layer(channels, state_dim, count,
                round % 4 < 2 ? ElementType::kBf16 : ElementType::kFloat32,
                round % 3 == 0 ? 60 : 0.1, random);
    const bool zero_state = round % 5 == 0;
    const float* const in = zero_state ? nullptr : layer.state().data();
    const std::vector<double> exact = layer.Exact(count, zero_state);
    const std::string what = absl::StrCat("round ", round, ": ", channels, " channels of ",
                                          state_dim, ", ", count, " tokens");
    EXPECT_LE(RelativeL2(layer.Folded(0, count, in, true), exact), 1e-7) << what;
    ForEachTarget([&] {
      const std::vector<float> whole = layer.Folded(0, count, in, false);
      EXPECT_LE(RelativeL2(whole, exact), kFoldBound) << what;
      const std::vector<float> first = layer.Folded(0, count / 3, in, false);
      EXPECT_LE(RelativeL2(layer.Folded(count / 3, count, first.data(), false), exact), kFoldBound)
          << what << ", in two folds";
    });
  }
}

// One dt for all tokens, as small and as large as to leave e^-25 of the state: what every token
// rounds the same way must not add up. With inputs and without.
TEST(FoldMamba1, ErrorsOfOneSignDoNotAddUp) {
  std::mt19937_64 random(84);
  for (const double dt : {1e-5, 4e-4, 1.3e-3, 4e-3, .013, .04, .1}) {
    for (const double input : {0., 1.}) {
      Layer layer(20, 16, 256, ElementType::kFloat32, 0, random);
      layer.Repeat(dt, input);
      const std::vector<double> exact = layer.Exact(256, false);
      ForEachTarget([&] {
        EXPECT_LE(RelativeL2(layer.Folded(0, 256, layer.state().data(), false), exact), kFoldBound)
            << "dt " << dt << " input " << input;
      });
    }
  }
}

TEST(FoldMamba1, NoTokensInPlaceIsNothing) {
  std::mt19937_64 random(82);
  Layer layer(5, 16, 0, ElementType::kBf16, 1, random);
  const std::vector<float> before = layer.state();
  std::vector<float> scratch(Mamba1ScratchFloats(16));
  const Mamba1Item item{layer.state().data(), layer.state().data()};
  ASSERT_TRUE(FoldMamba1(layer.Params({&item, 1}, scratch)).ok());
  EXPECT_EQ(layer.state(), before);
}

TEST(FoldMamba1, RefusalsNameTheField) {
  std::mt19937_64 random(83);
  Layer layer(5, 16, 2, ElementType::kBf16, 1, random);
  const std::vector<float> before = layer.state();
  std::vector<float> scratch(Mamba1ScratchFloats(16));
  float* const state = layer.state().data();
  const Mamba1Item good_item = layer.Item(0, 2, state, state);
  Mamba1Item item = good_item;
  const Mamba1Params good = layer.Params({&item, 1}, scratch);
  const auto expect = [&](const Mamba1Params& params, const char* message) {
    const absl::Status status = FoldMamba1(params);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_EQ(layer.state(), before) << "nothing is written";
    item = good_item;
  };
  Mamba1Params bad = good;
  bad.num_channels = 0, expect(bad, "0 channels of 16"), bad = good;
  bad.num_channels = 1u << 21, expect(bad, "channels of 16"), bad = good;
  bad.state_dim = 0, expect(bad, "5 channels of 0"), bad = good;
  bad.state_dim = 257, expect(bad, "of 1 to 256"), bad = good;
  bad.a = nullptr, expect(bad, "a is null"), bad = good;
  bad.scratch = bad.scratch.first(9), expect(bad, "scratch of 9 floats"), bad = good;
  item.state_out = nullptr, expect(good, "item 0: state_out is null");
  item.state_out = state + 1, expect(good, "overlap");
  item.x.data = nullptr, expect(good, "x is null");
  item.dt.data = nullptr, expect(good, "dt is null");
  item.b.data = nullptr, expect(good, "b is null");
}

}  // namespace
}  // namespace cistern::kernels
