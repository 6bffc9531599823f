// Rotation of single rows: bit for bit an engine's own op, the same on every instruction set, and
// the algebra around it.
#include "kernels/rotary/rotate.h"

#include <bit>
#include <cmath>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "test_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

std::vector<uint16_t> Rotated(const std::vector<uint16_t>& rows, const Turns& turns,
                              void (*op)(const RotateParams&) = RotateRef, uint32_t dim = 64) {
  std::vector<uint16_t> out(rows.size());
  op({.in = Bytes(rows),
      .in_stride = dim * 2,
      .out = Bytes(out),
      .out_stride = dim * 2,
      .num_rows = static_cast<uint32_t>(rows.size() / dim),
      .turns = &turns,
      .identity_dim = dim});
  return out;
}

Turns Ok(absl::StatusOr<Turns> turns) {
  EXPECT_TRUE(turns.ok()) << turns.status();
  return *std::move(turns);
}

// An engine's rotary op written down again from its description, sharing no code with the kernels.
class Engine {
 public:
  Engine(const base::RotarySpec& spec, RotaryArithmetic arithmetic)
      : spec_(spec), arithmetic_(arithmetic) {}

  std::vector<uint16_t> Apply(const std::vector<uint16_t>& k, uint32_t position) const {
    const std::vector<double> inv_freq = spec_.InverseFrequencies();
    const uint32_t pairs = spec_.dim / 2;
    std::vector<uint16_t> out(k.size());
    for (uint32_t i = 0; i < pairs; ++i) {
      const bool half = spec_.style == base::RotaryStyle::kHalf;
      const uint32_t at_a = half ? i : 2 * i, at_b = half ? i + pairs : 2 * i + 1;
      const float angle = static_cast<float>(position) * static_cast<float>(inv_freq[i]);
      const float scale = static_cast<float>(spec_.TableScale());
      float c = static_cast<float>(std::cos(double{angle})) * scale;
      float s = static_cast<float>(std::sin(double{angle})) * scale;
      if (arithmetic_ != RotaryArithmetic::kFp32Table) c = Nearest(c), s = Nearest(s);
      const float a = Widen(k[at_a]), b = Widen(k[at_b]);
      out[at_a] = Narrow(Op(Op(a * c) - Op(b * s)));
      out[at_b] = Narrow(Op(Op(b * c) + Op(a * s)));
    }
    return out;
  }

 private:
  static float Widen(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
  static uint16_t Narrow(float x) { return std::bit_cast<uint32_t>(Nearest(x)) >> 16; }
  // Rounding by arithmetic: of the two neighbours with 8 significant bits, the nearer; on a tie the
  // even one.
  static float Nearest(float x) {
    if (x == 0 || !std::isfinite(x)) return x;
    int exponent;
    const double mantissa = std::frexp(double{x}, &exponent);  // in [0.5, 1)
    return static_cast<float>(std::ldexp(std::nearbyint(mantissa * 256), exponent - 8));
  }
  float Op(float x) const { return arithmetic_ == RotaryArithmetic::kBf16PerOp ? Nearest(x) : x; }

  base::RotarySpec spec_;
  RotaryArithmetic arithmetic_;
};

TEST(Rotate, UnrotatedRowsBecomeTheEnginesOwnBytes) {
  std::mt19937_64 random(1);
  for (base::RotarySpec spec : {PlainRotary(), PlainRotary(3.2e7), YarnRotary(), ScaledRotary()}) {
    for (base::RotaryStyle style : {base::RotaryStyle::kInterleaved, base::RotaryStyle::kHalf}) {
      spec.style = style;
      for (RotaryArithmetic arithmetic : kArithmetics) {
        const auto table = MakeTable(spec, arithmetic);
        const Engine engine(spec, arithmetic);
        for (uint32_t position : {0u, 1u, 31'999u, 131'072u, 999'990u, 1u << 24}) {
          const std::vector<uint16_t> k = RandomBf16(64, random);
          const Turns turns = Ok(Turns::Place(*table, position, 1));
          const std::vector<uint16_t> expected = engine.Apply(k, position);
          EXPECT_EQ(Rotated(k, turns), expected) << position;
          ForEachTarget([&] { EXPECT_EQ(Rotated(k, turns, RotateCpu), expected) << position; });
        }
      }
    }
  }
}

// Any bits at all: infinities, NaN, denormals; any even dim, strides and alignment.
TEST(Rotate, FastFormsEqualTheReference) {
  ForEachTarget([] {
    std::mt19937_64 random(2);
    for (int round = 0; round < 300; ++round) {
      base::RotarySpec spec = PlainRotary();
      spec.style = round % 2 ? base::RotaryStyle::kInterleaved : base::RotaryStyle::kHalf;
      const uint32_t dims[] = {64, 64, 2, 32, 62, 96, 128};
      spec.dim = dims[Pick(0, 6, random)];
      const auto table = MakeTable(spec, kArithmetics[round % 3]);
      const uint32_t rows = Pick(1, 9, random), position = Pick(0, 1 << 20, random);
      const Turns turns = round % 5 == 0 ? Ok(Turns::ShiftIdeal(spec, Pick(1, 5000, random)))
                                         : Ok(Turns::Place(*table, position, rows));
      const uint32_t in_stride = spec.dim * 2 + Pick(0, 9, random),
                     out_stride = spec.dim * 2 + Pick(0, 9, random);
      const std::vector<std::byte> in = RandomBytes(rows * in_stride + 8, random);
      std::vector<std::byte> expected = RandomBytes(rows * out_stride + 8, random);
      std::vector<std::byte> got = expected;
      const uint32_t shift = Pick(0, 3, random);
      RotateParams params{.in = in.data() + shift,
                          .in_stride = in_stride,
                          .out = expected.data() + shift,
                          .out_stride = out_stride,
                          .num_rows = rows,
                          .turns = &turns};
      RotateRef(params);
      params.out = got.data() + shift;
      ASSERT_TRUE(Rotate(params).ok());
      ASSERT_EQ(got, expected) << "round " << round << " dim " << spec.dim;
    }
  });
}

// A fused multiply-add rounds once where the definition rounds twice: about 2 elements in 100,000
// differ, so it takes many rows to see one.
TEST(Rotate, NothingIsFused) {
  std::mt19937_64 random(6);
  constexpr uint32_t kRows = 20'000;
  const std::vector<uint16_t> k = RandomBf16(kRows * 64, random);
  for (base::RotaryStyle style : {base::RotaryStyle::kInterleaved, base::RotaryStyle::kHalf}) {
    base::RotarySpec spec = PlainRotary();
    spec.style = style;
    const auto table = MakeTable(spec, RotaryArithmetic::kFp32Table);
    const Turns turns = Ok(Turns::Place(*table, 1000, kRows));
    const std::vector<uint16_t> expected = Rotated(k, turns);
    ForEachTarget([&] { EXPECT_TRUE(Rotated(k, turns, RotateCpu) == expected); });
  }
}

TEST(Rotate, WorksInPlace) {
  std::mt19937_64 random(3);
  for (base::RotaryStyle style : {base::RotaryStyle::kInterleaved, base::RotaryStyle::kHalf}) {
    base::RotarySpec spec = PlainRotary();
    spec.style = style;
    const auto table = MakeTable(spec, RotaryArithmetic::kFp32Table);
    const Turns turns = Ok(Turns::Place(*table, 77, 4));
    std::vector<uint16_t> rows = RandomBf16(4 * 64, random);
    const std::vector<uint16_t> expected = Rotated(rows, turns);
    ForEachTarget([&] {
      std::vector<uint16_t> k = rows;
      RotateCpu({.in = Bytes(k),
                 .in_stride = 128,
                 .out = Bytes(k),
                 .out_stride = 128,
                 .num_rows = 4,
                 .turns = &turns});
      EXPECT_EQ(k, expected);
    });
  }
}

// HF keeps the even elements first, then the odd ones: a permutation of what engines keep, and
// nothing else.
TEST(Rotate, HalfIsInterleavedPermuted) {
  std::mt19937_64 random(4);
  const auto permuted = [](const std::vector<uint16_t>& k) {
    std::vector<uint16_t> out(k.size());
    for (uint32_t i = 0; i < 32; ++i) out[i] = k[2 * i], out[32 + i] = k[2 * i + 1];
    return out;
  };
  for (RotaryArithmetic arithmetic : kArithmetics) {
    base::RotarySpec half_spec = YarnRotary();
    half_spec.style = base::RotaryStyle::kHalf;
    const auto interleaved = MakeTable(YarnRotary(), arithmetic);
    const auto half = MakeTable(half_spec, arithmetic);
    for (uint32_t position : {1u, 500u, 70'000u}) {
      const std::vector<uint16_t> k = RandomBf16(64, random);
      EXPECT_EQ(permuted(Rotated(k, Ok(Turns::Place(*interleaved, position, 1)))),
                Rotated(permuted(k), Ok(Turns::Place(*half, position, 1))));
    }
  }
}

TEST(Rotate, NopeAndStandingStillAreCopies) {
  base::RotarySpec nope;
  nope.style = base::RotaryStyle::kNone;
  const auto nope_table = MakeTable(nope, RotaryArithmetic::kBf16PerOp);
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kBf16Table);
  std::mt19937_64 random(5);
  std::vector<uint16_t> any(3 * 64);  // also NaN and -0, which a turn by zero would change
  for (uint16_t& bits : any) bits = static_cast<uint16_t>(random());
  any[0] = 0x8000, any[1] = 0x7fc1;
  std::vector<Turns> turns;
  turns.push_back(Turns());
  turns.push_back(Ok(Turns::Place(*nope_table, 4000, 3)));
  turns.push_back(Ok(Turns::ShiftIdeal(nope, 17)));
  turns.push_back(Ok(Turns::ShiftTable(*nope_table, 1, *nope_table, 2, 3)));
  turns.push_back(Ok(Turns::Unplace(*nope_table, 4000, 3)));
  turns.push_back(Ok(Turns::ShiftIdeal(PlainRotary(), 0)));
  turns.push_back(Ok(Turns::ShiftTable(*table, 9, *table, 9, 3)));
  for (const Turns& turn : turns) {
    EXPECT_TRUE(turn.identity());
    EXPECT_EQ(Rotated(any, turn), any);
    EXPECT_EQ(Rotated(any, turn, RotateCpu), any);
  }
}

TEST(Rotate, NanComesOutCanonical) {
  const Turns turns = Ok(Turns::ShiftIdeal(PlainRotary(), 3));
  std::vector<uint16_t> k(64, 0xffff);
  ForEachTarget(
      [&] { EXPECT_EQ(Rotated(k, turns, RotateCpu), std::vector<uint16_t>(64, 0x7fc0)); });
}

TEST(Rotate, RefusesBadCalls) {
  std::vector<uint16_t> k(2 * 64);
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kFp32Table);
  const Turns turns = Ok(Turns::Place(*table, 0, 1));
  const RotateParams good{.in = Bytes(k),
                          .in_stride = 128,
                          .out = Bytes(k),
                          .out_stride = 128,
                          .num_rows = 1,
                          .turns = &turns};
  ASSERT_TRUE(ValidateRotate(good).ok());
  const auto error = [](const RotateParams& params) {
    const absl::Status status = Rotate(params);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  RotateParams bad = good;
  bad.in = nullptr;
  EXPECT_THAT(error(bad), HasSubstr("null"));
  bad = good, bad.out = nullptr;
  EXPECT_THAT(error(bad), HasSubstr("null"));
  bad = good, bad.turns = nullptr;
  EXPECT_THAT(error(bad), HasSubstr("null"));
  bad = good, bad.in_stride = 127;
  EXPECT_THAT(error(bad), HasSubstr("strides"));
  bad = good, bad.out_stride = 126;
  EXPECT_THAT(error(bad), HasSubstr("strides"));
  bad = good, bad.num_rows = 2;
  EXPECT_THAT(error(bad), HasSubstr("2 rows, turns for 1"));
}

}  // namespace
}  // namespace cistern::kernels
