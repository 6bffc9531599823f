// FoldLog against each family's recurrence in float64, the log packed here byte by byte after
// base/state_spec.h; where its fields lie at odd addresses; both temporal types; and each call that
// must be refused.
#include "kernels/recurrence/log_fold.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "recurrence_support.h"

namespace cistern::kernels {
namespace {

using base::StateFamily;
using base::StateSpec;
using base::StateType;
using ::testing::HasSubstr;

constexpr StateFamily kFamilies[] = {StateFamily::kMamba1,     StateFamily::kMamba2,
                                     StateFamily::kLightning,  StateFamily::kGatedLinear,
                                     StateFamily::kGatedDelta, StateFamily::kKda};

Recurrence RecurrenceOf(StateFamily family) {
  switch (family) {
    case StateFamily::kGatedLinear:
      return Recurrence::kDiagonalDecay;
    case StateFamily::kGatedDelta:
      return Recurrence::kGatedDelta;
    case StateFamily::kKda:
      return Recurrence::kKda;
    default:
      return Recurrence::kScalarDecay;
  }
}

// One layer's log: bytes as a node keeps them, and the numbers that they stand for.
class Log {
 public:
  // Tokens begin `shift` bytes behind a multiple of 16, `gap` bytes lie between two.
  Log(const StateSpec& spec, uint32_t count, size_t shift, size_t gap, std::mt19937_64& random)
      : spec_(spec),
        shape_{RecurrenceOf(spec.family), spec.num_heads, spec.num_key_heads, spec.key_dim,
               spec.value_dim},
        shift_(shift),
        stride_(spec.input_bytes() + gap) {
    spec.family == StateFamily::kMamba1 ? MakeMamba1(count, random) : Make(count, random);
    bytes_.resize(shift + count * stride_, std::byte{0xff});  // NaN, in both types
    for (uint32_t t = 0; t < count; ++t) Pack(t, bytes_.data() + shift + t * stride_);
  }

  LogFoldParams Params(uint32_t count, const std::byte* in, std::byte* out,
                       std::span<float> scratch) const {
    return {.spec = spec_,
            .log = bytes_.data() + shift_,
            .token_stride = stride_,
            .num_tokens = count,
            .decay = constants_.empty() ? nullptr : constants_.data(),
            .state_in = in,
            .state_out = out,
            .scratch = scratch};
  }

  std::vector<double> Exact(const std::vector<float>& state, uint32_t count) const {
    if (spec_.family == StateFamily::kMamba1) return ExactMamba1(state, count);
    ExactState exact(shape_, state);
    exact.Run(tokens_, 0, count);
    return exact.values();
  }

 private:
  void Make(uint32_t count, std::mt19937_64& random) {
    const bool rates = spec_.family == StateFamily::kMamba2;
    tokens_ = RandomTokens(shape_, count, {.weights = IsDelta(shape_.recurrence), .rates = rates},
                           random);
    if (rates) {
      tokens_.weight = tokens_.g;  // dt
      constants_ = tokens_.rates;
    }
    if (spec_.family == StateFamily::kLightning) {
      for (uint32_t h = 0; h < spec_.num_heads; ++h) {
        constants_.push_back(-.04f * static_cast<float>(h + 1));
      }
      tokens_.g = TokenData(ElementType::kFloat32, count, spec_.num_heads, 1, 0,
                            [&](uint32_t, uint32_t head, uint32_t) { return constants_[head]; });
    }
  }

  void MakeMamba1(uint32_t count, std::mt19937_64& random) {
    std::normal_distribution<double> normal;
    const auto number = [&](auto...) { return normal(random); };
    const auto small = [&](auto...) { return std::exp(normal(random) - 3); };
    tokens_.v = TokenData(ElementType::kBf16, count, 1, spec_.value_dim, 0, number);
    tokens_.weight = TokenData(ElementType::kBf16, count, 1, spec_.value_dim, 0, small);
    tokens_.k = TokenData(ElementType::kBf16, count, 1, spec_.key_dim, 0, number);
    for (uint32_t i = 0; i < spec_.value_dim * spec_.key_dim; ++i) {
      constants_.push_back(-static_cast<float>(std::exp(normal(random) / 2)));
    }
  }

  std::vector<double> ExactMamba1(const std::vector<float>& state, uint32_t count) const {
    std::vector<double> h(state.begin(), state.end());
    h.resize(size_t{spec_.value_dim} * spec_.key_dim);
    for (uint32_t t = 0; t < count; ++t) {
      for (size_t i = 0; i < h.size(); ++i) {
        const auto c = static_cast<uint32_t>(i / spec_.key_dim);
        const double dt = tokens_.weight(t, 0, c);
        h[i] = std::exp(dt * constants_[i]) * h[i] +
               dt * tokens_.v(t, 0, c) * tokens_.k(t, 0, static_cast<uint32_t>(i % spec_.key_dim));
      }
    }
    return h;
  }

  // The table of base/state_spec.h.
  void Pack(uint32_t token, std::byte* at) const {
    const uint32_t heads = spec_.num_heads, key_heads = spec_.num_key_heads, k = spec_.key_dim;
    const auto put = [&](const TokenData& data, uint32_t num_heads, uint32_t width, bool half) {
      for (uint32_t i = 0; i < num_heads * width; ++i) {
        const auto value = static_cast<float>(data(token, i / width, i % width));
        const uint16_t bits = FloatToBf16(value);
        half ? std::memcpy(at, &bits, 2) : std::memcpy(at, &value, 4);
        at += half ? 2 : 4;
      }
    };
    switch (spec_.family) {
      case StateFamily::kMamba1:
        put(tokens_.v, 1, spec_.value_dim, true);
        put(tokens_.weight, 1, spec_.value_dim, true);
        put(tokens_.k, 1, k, true);
        return;
      case StateFamily::kMamba2:
        put(tokens_.v, heads, spec_.value_dim, true);
        put(tokens_.k, key_heads, k, true);
        put(tokens_.g, heads, 1, false);
        return;
      default:
        put(tokens_.k, key_heads, k, true);
        put(tokens_.v, heads, spec_.value_dim, true);
    }
    if (spec_.family == StateFamily::kLightning) return;
    put(tokens_.g, heads, DecaysByChannel(shape_.recurrence) ? k : 1, false);
    if (IsDelta(shape_.recurrence)) put(tokens_.weight, heads, 1, false);
  }

  const StateSpec spec_;
  const RecurrenceShape shape_;
  const size_t shift_, stride_;
  Tokens tokens_;  // Mamba-1: v = x, weight = dt, k = B
  std::vector<float> constants_;
  std::vector<std::byte> bytes_;
};

StateSpec SpecOf(StateFamily family, uint32_t heads, uint32_t key_heads, uint32_t key_dim,
                 uint32_t value_dim, StateType type = StateType::kFloat32) {
  StateSpec spec{.family = family,
                 .num_layers = 1,
                 .num_heads = heads,
                 .num_key_heads = key_heads,
                 .key_dim = key_dim,
                 .value_dim = value_dim,
                 .temporal_type = type};
  if (family == StateFamily::kMamba1) spec.num_heads = spec.num_key_heads = 1;
  return spec;
}

size_t FloatsOf(const StateSpec& spec) {
  return size_t{spec.num_heads} * spec.value_dim * spec.key_dim;
}

std::vector<float> RandomFloats(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::byte* BytesOf(auto& values) { return reinterpret_cast<std::byte*>(values.data()); }

// `state` empty is the zero state.
std::vector<float> Folded(const Log& log, const StateSpec& spec, uint32_t count,
                          std::vector<float> state, bool reference = false) {
  std::vector<float> out(FloatsOf(spec), std::nanf(""));
  std::vector<float> scratch(LogFoldScratchFloats(spec), std::nanf(""));
  LogFoldParams params =
      log.Params(count, state.empty() ? nullptr : BytesOf(state), BytesOf(out), scratch);
  params.spec = spec;
  EXPECT_TRUE(ValidateLogFold(params).ok()) << ValidateLogFold(params);
  reference ? FoldLogRef(params) : FoldLogCpu(params);
  return out;
}

// Sizes that are odd leave the float32 fields at addresses that are not theirs; so do shifts and
// gaps.
TEST(FoldLog, EqualsTheRecurrenceOfEachFamily) {
  std::mt19937_64 random(91);
  for (const StateFamily family : kFamilies) {
    for (int round = 0; round < 12; ++round) {
      const bool odd = round % 3 == 1;
      const StateSpec spec = SpecOf(family, 4, odd ? 1 : 2, odd ? 33 : 32, odd ? 7 : 16);
      const uint32_t count = round % 4 == 0 ? Pick(250, 300, random) : Pick(0, 50, random);
      const size_t shift = 2 * Pick(0, 3, random), gap = 2 * Pick(0, 3, random);
      const Log log(spec, count, shift, gap, random);
      const std::vector<float> state =
          round % 5 ? RandomFloats(FloatsOf(spec), random) : std::vector<float>();
      const std::vector<double> exact = log.Exact(state, count);
      const std::string what = absl::StrCat(ToString(family), ", ", count, " tokens of stride ",
                                            spec.input_bytes() + gap, " from ", shift);
      // Each 16 tokens that are copied end in a rounded state.
      EXPECT_LE(RelativeL2(Folded(log, spec, count, state, true), exact), 4e-7) << what;
      ForEachTarget([&] {
        EXPECT_LE(RelativeL2(Folded(log, spec, count, state), exact), kFoldBound) << what;
      });
    }
  }
}

// A bf16 state is the float32 one, rounded at the end; in place, and apart.
TEST(FoldLog, Bf16StatesAreRoundedOnce) {
  std::mt19937_64 random(92);
  for (const StateFamily family : kFamilies) {
    for (const uint32_t dim : {16, 9}) {
      const StateSpec wide = SpecOf(family, 2, 1, dim, dim);
      const StateSpec spec = SpecOf(family, 2, 1, dim, dim, StateType::kBf16);
      const Log log(spec, 40, 0, 0, random);
      std::vector<float> state = RandomFloats(FloatsOf(spec), random);
      std::vector<uint16_t> in, expected;
      for (float& value : state) {
        in.push_back(FloatToBf16(value));
        value = Bf16ToFloat(in.back());
      }
      for (const float value : Folded(log, wide, 40, state)) expected.push_back(FloatToBf16(value));
      std::vector<float> scratch(LogFoldScratchFloats(spec), std::nanf(""));
      std::vector<uint16_t> out(in.size(), 0x7fc0);
      ASSERT_TRUE(FoldLog(log.Params(40, BytesOf(in), BytesOf(out), scratch)).ok());
      EXPECT_EQ(out, expected) << ToString(family) << " of " << dim;
      ASSERT_TRUE(FoldLog(log.Params(40, BytesOf(in), BytesOf(in), scratch)).ok());
      EXPECT_EQ(in, expected) << ToString(family) << " of " << dim << ", in place";

      expected.clear();
      for (const float value : Folded(log, wide, 40, {})) expected.push_back(FloatToBf16(value));
      ASSERT_TRUE(FoldLog(log.Params(40, nullptr, BytesOf(out), scratch)).ok());
      EXPECT_EQ(out, expected) << ToString(family) << " of " << dim << ", from zero";
    }
  }
}

// A state of any bits; then the zero state; and none of them needs a log.
TEST(FoldLog, NoTokensCopy) {
  std::mt19937_64 random(93);
  for (const StateFamily family : kFamilies) {
    for (const StateType type : {StateType::kFloat32, StateType::kBf16}) {
      const StateSpec spec = SpecOf(family, 2, 1, 6, 5, type);
      const Log log(spec, 0, 0, 0, random);
      std::vector<uint32_t> in(FloatsOf(spec), 0xffa5ffa5);  // NaN, of no canonical bits
      in.resize((spec.temporal_bytes() + 3) / 4);
      std::vector<uint32_t> out(in.size(), 7);
      std::vector<float> scratch(LogFoldScratchFloats(spec));
      LogFoldParams params = log.Params(0, BytesOf(in), BytesOf(out), scratch);
      params.log = nullptr;
      ASSERT_TRUE(FoldLog(params).ok());
      EXPECT_EQ(out, in);
      params.state_in = params.state_out;
      ASSERT_TRUE(FoldLog(params).ok());
      EXPECT_EQ(out, in) << "in place";
      params.state_in = nullptr;
      ASSERT_TRUE(FoldLog(params).ok());
      EXPECT_EQ(out, std::vector<uint32_t>(in.size(), 0)) << "the zero state";
    }
  }
}

TEST(FoldLog, RefusalsNameTheField) {
  std::mt19937_64 random(94);
  const StateSpec spec = SpecOf(StateFamily::kMamba2, 4, 2, 8, 8);
  const Log log(spec, 3, 0, 0, random);
  std::vector<float> in(FloatsOf(spec), 1.0f), out(FloatsOf(spec) + 1, 5.0f);
  std::vector<float> scratch(1 << 16);
  const LogFoldParams good = log.Params(3, BytesOf(in), BytesOf(out), scratch);
  LogFoldParams bad = good;
  const auto expect = [&](const char* message) {
    const absl::Status status = FoldLog(bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_EQ(out, std::vector<float>(out.size(), 5.0f)) << "nothing is written";
    bad = good;
  };
  ASSERT_TRUE(ValidateLogFold(good).ok());
  bad.spec = {}, expect("no recurrent layers");
  bad.spec.num_key_heads = 3, expect("num_key_heads is 3");
  bad.spec.key_dim = 1025, expect("key_dim 1025");
  bad.spec.family = StateFamily::kMamba1, expect("mamba1 has 4 heads over 2");
  bad.spec = SpecOf(StateFamily::kMamba1, 1, 1, 257, 8), expect("d_state 257");
  bad.decay = nullptr, expect("decay is null; mamba2 has constants");
  bad.spec.family = StateFamily::kLightning, bad.decay = nullptr, expect("lightning has constants");
  bad.spec.family = StateFamily::kKda, expect("decay is given; kda has its decays in the log");
  bad.scratch = bad.scratch.first(LogFoldScratchFloats(spec) - 1), expect("scratch of ");
  bad.state_out = nullptr, expect("state_out is null");
  bad.state_out += 2, expect("not aligned to its elements");
  bad.state_in += 2, expect("not aligned to its elements");
  bad.state_in = bad.state_out + 4, expect("overlap");
  bad.log = nullptr, expect("log is null");
  bad.log += 1, expect("not a multiple of 2 bytes");
  bad.token_stride += 1, expect("not a multiple of 2 bytes");
  bad.token_stride -= 2, expect("the inputs of a token take 112 bytes");
}

TEST(FoldLog, Bf16StatesNeedMoreScratch) {
  std::mt19937_64 random(95);
  const StateSpec spec = SpecOf(StateFamily::kKda, 2, 2, 8, 8, StateType::kBf16);
  const Log log(spec, 1, 0, 0, random);
  std::vector<uint16_t> out(FloatsOf(spec), 7);
  std::vector<float> scratch(LogFoldScratchFloats(SpecOf(StateFamily::kKda, 2, 2, 8, 8)));
  const absl::Status status = FoldLog(log.Params(1, nullptr, BytesOf(out), scratch));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("scratch of "));
  EXPECT_EQ(out, std::vector<uint16_t>(out.size(), 7)) << "nothing is written";
}

}  // namespace
}  // namespace cistern::kernels
