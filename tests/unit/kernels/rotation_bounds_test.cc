// How far a moved row may be from the row that the engine would have computed there, up to position
// 10^6.
//
// Per element: n = norm of the pair before rotation, times mscale; u = 2^-8, the spacing of bf16 at
// 1; eps = |fl(q f) - fl(p f) - (q - p) f|, what fp32 angles lack to be additive, which an ideal
// shift does not share. Each bound counts roundings: one when the row was stored, one on each side
// at the end, and what a bf16 table or bf16 operations add. Ulps of the element are no measure:
// near zero by cancellation an element may be off by thousands.
#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"

#include "kernels/rotary/rotate.h"
#include "test_support.h"

namespace cistern::kernels {
namespace {

constexpr double kU = 1.0 / 256;
constexpr uint32_t kRows = 16;

struct Bound {
  double u;     // times u * n
  bool angles;  // plus eps * n
};

std::vector<uint16_t> Rotated(const std::vector<uint16_t>& rows,
                              const absl::StatusOr<Turns>& turns) {
  EXPECT_TRUE(turns.ok()) << turns.status();
  std::vector<uint16_t> out(rows.size());
  EXPECT_TRUE(Rotate({.in = Bytes(rows),
                      .in_stride = 128,
                      .out = Bytes(out),
                      .out_stride = 128,
                      .num_rows = static_cast<uint32_t>(rows.size() / 64),
                      .turns = &*turns})
                  .ok());
  return out;
}

// A model's rotary arithmetic, and random moves within the first `positions`.
class Moves {
 public:
  Moves(const base::RotarySpec& spec, RotaryArithmetic arithmetic, uint32_t positions,
        uint64_t seed)
      : spec_(spec), table_(MakeTable(spec, arithmetic)), positions_(positions), random_(seed) {
    for (double f : spec.InverseFrequencies()) inv_freq_.push_back(static_cast<float>(f));
  }

  void Next() {
    p_ = Pick(0, positions_ - kRows, random_);
    q_ = Pick(0, positions_ - kRows, random_);
    k_ = RandomBf16(kRows * 64, random_);
    want_ = Rotated(k_, Turns::Place(*table_, q_, kRows));
    stored_ = Rotated(k_, Turns::Place(*table_, p_, kRows));
  }

  std::vector<uint16_t> ByTable() const {
    return Rotated(stored_, Turns::ShiftTable(*table_, p_, *table_, q_, kRows));
  }
  std::vector<uint16_t> ByIdeal(int64_t wrong_by = 0) const {
    return Rotated(stored_, Turns::ShiftIdeal(spec_, int64_t{q_} - p_ + wrong_by));
  }
  std::vector<uint16_t> ByPositionZero() const {
    return Rotated(Rotated(stored_, Turns::Unplace(*table_, p_, kRows)),
                   Turns::Place(*table_, q_, kRows));
  }

  // The largest error over its bound; at most 1 when the bound holds.
  double Worst(const std::vector<uint16_t>& got, Bound bound) {
    double worst = 0;
    for (uint32_t row = 0; row < kRows; ++row) {
      for (uint32_t i = 0; i < 32; ++i) {
        const size_t at = row * 64 + 2 * i;
        const double n = PairNorm(at);
        const double eps = bound.angles ? AngleGap(row, i) : 0;
        for (size_t j : {at, at + 1})
          worst = std::max(worst, Error(got, j) / ((bound.u * kU + eps) * n + 1e-30));
      }
    }
    Accumulate(got);
    return worst;
  }

  // The same against u (n + 2 |ref|)(1 + 2u) + eps n: storing, and rounding on each side of the
  // comparison.
  double WorstTight(const std::vector<uint16_t>& got, bool angles) {
    double worst = 0;
    for (uint32_t row = 0; row < kRows; ++row) {
      for (uint32_t i = 0; i < 32; ++i) {
        const size_t at = row * 64 + 2 * i;
        const double n = PairNorm(at);
        const double eps = angles ? AngleGap(row, i) : 0;
        for (size_t j : {at, at + 1}) {
          const double bound =
              kU * (n + 2 * std::abs(Bf16ToFloat(want_[j]))) * (1 + 2 * kU) + eps * n;
          worst = std::max(worst, Error(got, j) / (bound + 1e-30));
        }
      }
    }
    return worst;
  }

  // Of everything that Worst has seen since the last call.
  double TakeRelativeL2() {
    const double result = std::sqrt(error2_ / norm2_);
    error2_ = norm2_ = 0;
    return result;
  }

 private:
  double PairNorm(size_t at) const {
    return std::hypot(Bf16ToFloat(k_[at]), Bf16ToFloat(k_[at + 1])) * spec_.TableScale();
  }
  double Error(const std::vector<uint16_t>& got, size_t j) const {
    return std::abs(double{Bf16ToFloat(got[j])} - double{Bf16ToFloat(want_[j])});
  }
  double AngleGap(uint32_t row, uint32_t i) const {
    const float f = inv_freq_[i];
    const float at_q = static_cast<float>(q_ + row) * f, at_p = static_cast<float>(p_ + row) * f;
    return std::abs(double{at_q} - double{at_p} - (double{1} * q_ - p_) * double{f});
  }
  void Accumulate(const std::vector<uint16_t>& got) {
    for (size_t j = 0; j < got.size(); ++j) {
      error2_ += Error(got, j) * Error(got, j);
      norm2_ += std::pow(double{Bf16ToFloat(want_[j])}, 2);
    }
  }

  base::RotarySpec spec_;
  std::unique_ptr<RotaryTable> table_;
  uint32_t positions_;
  std::mt19937_64 random_;
  std::vector<float> inv_freq_;
  uint32_t p_ = 0, q_ = 0;
  std::vector<uint16_t> k_, want_, stored_;
  double error2_ = 0, norm2_ = 0;
};

struct Case {
  RotaryArithmetic arithmetic;
  Bound by_table, by_ideal, by_position_zero;
  double relative_l2;  // of a whole tensor moved by table ratio
};

// The last column of by_position_zero: bf16 operations add (1 + sqrt 2) u n to the 4 u n of fp32
// math.
constexpr Case kCases[] = {
    {RotaryArithmetic::kFp32Table, {3, false}, {3, true}, {4, false}, 3.5e-3},
    {RotaryArithmetic::kBf16Table, {3 * (1 + 2 * kU), false}, {4.5, true}, {4, false}, 3.5e-3},
    {RotaryArithmetic::kBf16PerOp, {5.5, false}, {7, true}, {6.5, false}, 4.5e-3},
};

void ForEachModelAndRange(const std::function<void(const base::RotarySpec&, uint32_t)>& body) {
  for (const base::RotarySpec& spec :
       {PlainRotary(), PlainRotary(5e4), PlainRotary(8e6), YarnRotary(), ScaledRotary()}) {
    for (uint32_t positions : {32'768u, 131'072u, 1'000'001u}) {
      SCOPED_TRACE(testing::Message()
                   << "theta " << spec.theta << " factor " << spec.factor << " mscale "
                   << spec.TableScale() << " below position " << positions);
      body(spec, positions);
    }
  }
}

TEST(RotationBounds, TableRatio) {
  ForEachModelAndRange([](const base::RotarySpec& spec, uint32_t positions) {
    for (const Case& c : kCases) {
      Moves moves(spec, c.arithmetic, positions, 21);
      for (int i = 0; i < 25; ++i) {
        moves.Next();
        ASSERT_LE(moves.Worst(moves.ByTable(), c.by_table), 1) << ToString(c.arithmetic);
        if (c.arithmetic == RotaryArithmetic::kFp32Table) {
          ASSERT_LE(moves.WorstTight(moves.ByTable(), false), 1);
        }
      }
      EXPECT_LT(moves.TakeRelativeL2(), c.relative_l2) << ToString(c.arithmetic);
    }
  });
}

TEST(RotationBounds, IdealShift) {
  ForEachModelAndRange([](const base::RotarySpec& spec, uint32_t positions) {
    for (const Case& c : kCases) {
      Moves moves(spec, c.arithmetic, positions, 22);
      for (int i = 0; i < 25; ++i) {
        moves.Next();
        ASSERT_LE(moves.Worst(moves.ByIdeal(), c.by_ideal), 1) << ToString(c.arithmetic);
        if (c.arithmetic == RotaryArithmetic::kFp32Table) {
          ASSERT_LE(moves.WorstTight(moves.ByIdeal(), true), 1);
        }
      }
    }
  });
}

// Rows that could only be read after rotation, turned back to position 0, stored, placed anew.
TEST(RotationBounds, PositionZeroForm) {
  ForEachModelAndRange([](const base::RotarySpec& spec, uint32_t positions) {
    for (const Case& c : kCases) {
      Moves moves(spec, c.arithmetic, positions, 23);
      for (int i = 0; i < 25; ++i) {
        moves.Next();
        ASSERT_LE(moves.Worst(moves.ByPositionZero(), c.by_position_zero), 1)
            << ToString(c.arithmetic);
      }
    }
  });
}

// Past 100 K tokens the engine's own angles are nearer to the engine than ideal ones.
TEST(RotationBounds, TableRatioIsNearerThanIdealFarOut) {
  Moves moves(PlainRotary(), RotaryArithmetic::kFp32Table, 1'000'001, 24);
  double by_table = 0, by_ideal = 0;
  for (int i = 0; i < 100; ++i) {
    moves.Next();
    moves.Worst(moves.ByTable(), {3, false});
    by_table = std::max(by_table, moves.TakeRelativeL2());
    moves.Worst(moves.ByIdeal(), {3, true});
    by_ideal = std::max(by_ideal, moves.TakeRelativeL2());
  }
  EXPECT_LT(by_table, 3.5e-3);
  EXPECT_GT(by_ideal, by_table * 1.5);
}

// The checks above can fail: a position off by one, or mscale applied again, is far outside every
// bound.
TEST(RotationBounds, WrongMovesAreCaught) {
  for (const Case& c : kCases) {
    Moves moves(ScaledRotary(), c.arithmetic, 32'768, 25);
    moves.Next();
    EXPECT_GT(moves.Worst(moves.ByIdeal(1), c.by_ideal), 10) << ToString(c.arithmetic);
    std::vector<uint16_t> twice = moves.ByTable();
    for (uint16_t& bits : twice)
      bits = FloatToBf16(Bf16ToFloat(bits) * static_cast<float>(ScaledRotary().TableScale()));
    EXPECT_GT(moves.Worst(twice, c.by_table), 10) << ToString(c.arithmetic);
  }
}

TEST(Turns, ShiftsKeepTheNormSoMscaleIsNotAppliedAgain) {
  for (RotaryArithmetic arithmetic : kArithmetics) {
    const auto table = MakeTable(ScaledRotary(), arithmetic);
    const Turns by_table = *Turns::ShiftTable(*table, 12, *table, 90'000, 3);
    const Turns by_ideal = *Turns::ShiftIdeal(ScaledRotary(), 90'000 - 12);
    const Turns back = *Turns::Unplace(*table, 12, 3);
    for (uint32_t i = 0; i < 32; ++i) {
      EXPECT_NEAR(std::hypot(by_ideal.At(0)[i], by_ideal.At(0)[32 + i]), 1, 1e-6);
      EXPECT_NEAR(std::hypot(by_table.At(2)[i], by_table.At(2)[32 + i]), 1,
                  2 * kU);  // bf16 tables are not quite rotations
      EXPECT_NEAR(std::hypot(back.At(2)[i], back.At(2)[32 + i]) * ScaledRotary().TableScale(), 1,
                  kU);
    }
  }
}

// Two moves one after the other are the one move from base to end, but for the rounding in between.
TEST(Turns, ShiftsCompose) {
  std::mt19937_64 random(26);
  for (const base::RotarySpec& spec : {PlainRotary(), YarnRotary(), ScaledRotary()}) {
    for (int round = 0; round < 50; ++round) {
      const int64_t first = Pick(1, 1'000'000, random),
                    second = -int64_t{Pick(1, 1'000'000, random)};
      const std::vector<uint16_t> k = RandomBf16(64, random);
      const auto one = Rotated(k, Turns::ShiftIdeal(spec, first + second));
      const auto two =
          Rotated(Rotated(k, Turns::ShiftIdeal(spec, first)), Turns::ShiftIdeal(spec, second));
      for (uint32_t j = 0; j < 64; ++j) {
        const double n = std::hypot(Bf16ToFloat(k[j & ~1u]), Bf16ToFloat(k[j | 1]));
        ASSERT_LE(std::abs(Bf16ToFloat(one[j]) - Bf16ToFloat(two[j])), 3 * kU * n)
            << first << " " << second;
      }
    }
  }
}

// A shift between two engines takes the writer's angles out and puts the reader's in.
TEST(Turns, ShiftTableBridgesTwoEngines) {
  std::mt19937_64 random(27);
  const auto writer = MakeTable(YarnRotary(), RotaryArithmetic::kFp32Table);    // mscale 1
  const auto reader = MakeTable(ScaledRotary(), RotaryArithmetic::kBf16Table);  // mscale 1.369
  const std::vector<uint16_t> k = RandomBf16(kRows * 64, random);
  const auto stored = Rotated(k, Turns::Place(*writer, 500'000, kRows));
  const auto want = Rotated(k, Turns::Place(*reader, 3'000, kRows));
  const auto got = Rotated(stored, Turns::ShiftTable(*writer, 500'000, *reader, 3'000, kRows));
  for (size_t j = 0; j < k.size(); ++j) {
    const double n = std::hypot(Bf16ToFloat(k[j & ~size_t{1}]), Bf16ToFloat(k[j | 1])) *
                     ScaledRotary().TableScale();
    ASSERT_LE(std::abs(Bf16ToFloat(got[j]) - Bf16ToFloat(want[j])), 3 * kU * (1 + 2 * kU) * n);
  }
}

TEST(Turns, RefusePositionsAndTablesThatDoNotFit) {
  auto table = RotaryTable::Create(PlainRotary(), RotaryArithmetic::kFp32Table, 100);
  ASSERT_TRUE(table.ok());
  const RotaryTable& t = **table;
  base::RotarySpec half_spec = PlainRotary();
  half_spec.style = base::RotaryStyle::kHalf;
  const auto half = MakeTable(half_spec, RotaryArithmetic::kFp32Table);
  base::RotarySpec odd = PlainRotary();
  odd.dim = 63;
  EXPECT_TRUE(Turns::Place(t, 90, 10).ok());
  for (const absl::Status& status :
       {Turns::Place(t, 91, 10).status(), Turns::Place(t, UINT32_MAX, 2).status(),
        Turns::Place(t, 0, 0).status(), Turns::Place(t, 0, Turns::kMaxTokens + 1).status(),
        Turns::ShiftTable(t, 91, t, 0, 10).status(), Turns::ShiftTable(t, 0, t, 91, 10).status(),
        Turns::ShiftTable(t, 0, *half, 5, 10).status(), Turns::Unplace(t, 100, 1).status(),
        Turns::ShiftIdeal(odd, 3).status(), Turns::ShiftIdeal(PlainRotary(), INT64_MIN).status(),
        Turns::ShiftIdeal(PlainRotary(), RotaryTable::kMaxPositions).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
}

}  // namespace
}  // namespace cistern::kernels
