// Frequencies and table scale against numbers computed outside of this code base from the formulas
// that DeepSeek publishes (DeepSeek-V3 inference/model.py, precompute_freqs_cis), and the bounds.
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "gtest/gtest.h"

#include "base/model_spec.h"
#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

RotarySpec Yarn(double theta, double factor, double original, double fast, double slow) {
  RotarySpec rotary;
  rotary.theta = theta;
  rotary.scaling = RotaryScaling::kYarn;
  rotary.factor = factor;
  rotary.original_max_position = original;
  rotary.beta_fast = fast;
  rotary.beta_slow = slow;
  return rotary;
}

void ExpectFrequencies(const RotarySpec& rotary, const std::map<size_t, double>& golden) {
  const std::vector<double> frequencies = rotary.InverseFrequencies();
  ASSERT_EQ(frequencies.size(), 32u);
  for (const auto& [pair, value] : golden) {
    EXPECT_NEAR(frequencies[pair], value, 1e-14 * value) << "pair " << pair;
  }
}

TEST(RotarySpecTest, PlainFrequencies) {
  RotarySpec rotary;
  const std::vector<double> frequencies = rotary.InverseFrequencies();
  ASSERT_EQ(frequencies.size(), 32u);
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_NEAR(frequencies[i], std::exp(-std::log(1e4) * static_cast<double>(i) / 32), 1e-15);
  }
  EXPECT_EQ(frequencies[0], 1.0);
  EXPECT_EQ(rotary.TableScale(), 1.0);
}

TEST(RotarySpecTest, LinearScalingDividesEveryFrequency) {
  RotarySpec rotary;
  const std::vector<double> plain = rotary.InverseFrequencies();
  rotary.scaling = RotaryScaling::kLinear;
  rotary.factor = 8;
  const std::vector<double> scaled = rotary.InverseFrequencies();
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 8);
}

TEST(RotarySpecTest, YarnOfDeepSeekV3) {
  ExpectFrequencies(Yarn(1e4, 40, 4096, 32, 1), {{0, 1.0},
                                                 {9, 0.07498942093324558},
                                                 {10, 0.056234132519034905},
                                                 {11, 0.03900692656714386},
                                                 {15, 0.008334508951020777},
                                                 {16, 0.0055},
                                                 {20, 0.0007905694150420945},
                                                 {23, 3.33380358040831e-05},
                                                 {31, 3.3338035804083097e-06}});
}

// Both betas are 1: the ramp between kept and interpolated pairs is one pair wide.
TEST(RotarySpecTest, YarnOfKimiK2) {
  ExpectFrequencies(Yarn(5e4, 32, 4096, 1, 1), {{0, 1.0},
                                                {11, 0.02425096702034628},
                                                {16, 0.00447213595499958},
                                                {20, 3.6140467735726306e-05},
                                                {31, 8.764412911589875e-07}});
}

TEST(RotarySpecTest, YarnOfKimiK25) {
  ExpectFrequencies(Yarn(5e4, 64, 4096, 32, 1), {{9, 0.04377665595133869},
                                                 {15, 0.002670203390997384},
                                                 {20, 1.8070233867863153e-05},
                                                 {31, 4.3822064557949375e-07}});
}

TEST(RotarySpecTest, YarnOfMistralLarge3) {
  ExpectFrequencies(Yarn(1e4, 36, 8192, 32, 1), {{11, 0.042169650342858224},
                                                 {15, 0.0103433393135745},
                                                 {16, 0.007008547008547009},
                                                 {23, 0.00023650059587511943},
                                                 {31, 3.704226200453678e-06}});
}

TEST(RotarySpecTest, TableScaleIsOneWhenBothMscalesAgree) {
  for (const double mscale : {0.707, 1.0, 0.0}) {
    RotarySpec rotary = Yarn(1e4, 40, 4096, 32, 1);
    rotary.mscale = rotary.mscale_all_dim = mscale;
    EXPECT_EQ(rotary.TableScale(), 1.0);
  }
}

// 0.1 ln(40) + 1 = 1.3688879454113936, as in the published get_mscale.
TEST(RotarySpecTest, TableScaleOtherwiseIsTheRatioTimesTheFactor) {
  RotarySpec rotary = Yarn(1e4, 40, 4096, 32, 1);
  rotary.mscale_all_dim = 0;
  EXPECT_NEAR(rotary.TableScale(), 1.3688879454113936, 1e-15);
  rotary.attention_factor = 2;
  EXPECT_NEAR(rotary.TableScale(), 2.737775890822787, 1e-14);
  rotary.factor = 1;  // nothing is stretched
  EXPECT_EQ(rotary.TableScale(), 2.0);
  rotary.scaling = RotaryScaling::kLinear;  // mscale is YaRN's
  EXPECT_EQ(rotary.TableScale(), 2.0);
}

TEST(RotarySpecTest, ValidateNamesTheParameterThatIsOut) {
  struct Field {
    const char* name;
    double RotarySpec::*member;
    double too_low;
    double too_high;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Field& field :
       {Field{"theta", &RotarySpec::theta, 1.0, 1e13},
        Field{"factor", &RotarySpec::factor, 0.0, 1e7},
        Field{"original_max_position", &RotarySpec::original_max_position, 0.5, 1e13},
        Field{"beta_fast", &RotarySpec::beta_fast, 0.0, 1e7},
        Field{"beta_slow", &RotarySpec::beta_slow, -1.0, 1e7},
        Field{"mscale", &RotarySpec::mscale, -0.1, 1e4},
        Field{"mscale_all_dim", &RotarySpec::mscale_all_dim, -0.1, 1e4},
        Field{"attention_factor", &RotarySpec::attention_factor, 0.0, 1e4}}) {
    for (const double bad : {field.too_low, field.too_high, nan, infinity, -infinity}) {
      RotarySpec rotary = Yarn(1e4, 40, 4096, 32, 1);
      rotary.*field.member = bad;
      EXPECT_INVALID(rotary.Validate(), std::string("rotary.") + field.name + " is ");
      rotary.style = RotaryStyle::kNone;  // it would still be part of the fingerprint
      EXPECT_INVALID(rotary.Validate(), field.name);
    }
  }
}

TEST(RotarySpecTest, ValidateRefusesDimsAndNamesOutsideOfTheirRange) {
  for (const uint32_t dim : {0u, 63u, 1026u, ~0u}) {
    RotarySpec rotary;
    rotary.dim = dim;
    EXPECT_INVALID(rotary.Validate(), "rotary.dim");
  }
  RotarySpec rotary;
  rotary.style = static_cast<RotaryStyle>(3);
  EXPECT_INVALID(rotary.Validate(), "rotary.style");
  rotary = RotarySpec();
  rotary.scaling = static_cast<RotaryScaling>(3);
  EXPECT_INVALID(rotary.Validate(), "rotary.scaling");
}

// Whatever Validate lets through gives finite, positive numbers, at the corners of every range too.
TEST(RotarySpecTest, ValidSpecsHaveFiniteFrequencies) {
  for (const double theta : {1.5, 1e4, 1e12}) {
    for (const double factor : {1e-3, 1.0, 1e6}) {
      for (const double original : {1.0, 4096.0, 1e12}) {
        for (const double fast : {1e-3, 32.0, 1e6}) {
          for (const double slow : {1e-3, 1.0, 1e6}) {
            const RotarySpec rotary = Yarn(theta, factor, original, fast, slow);
            ASSERT_TRUE(rotary.Validate().ok()) << rotary.Validate();
            for (const double f : rotary.InverseFrequencies()) {
              ASSERT_TRUE(std::isfinite(f) && f > 0) << theta << " " << factor << " " << original;
            }
            ASSERT_TRUE(std::isfinite(rotary.TableScale()));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace cistern::base
