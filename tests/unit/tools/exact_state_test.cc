// The float64 state against the plainest form of the same recurrence, for every family.
#include "tools/bench/exact_state.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "base/model_spec.h"
#include "tests/unit/tools/naive_state.h"
#include "tools/bench/state_model.h"

namespace cistern::tools {
namespace {

base::ModelSpec ModelOf(const base::StateSpec& state) {
  base::ModelSpec spec;
  spec.name = "test";
  spec.num_layers = 1;
  spec.state = state;
  return spec;
}

constexpr uint32_t kTokens = 150;

class ExactStateTest : public testing::TestWithParam<base::StateSpec> {
 protected:
  const StateModel model_{ModelOf(GetParam())};
  const float* decay() const {
    return model_.constants().decay.empty() ? nullptr : model_.constants().decay[0];
  }
  std::vector<std::byte> Inputs(uint32_t tokens) const {
    std::vector<std::byte> inputs(tokens * GetParam().input_bytes());
    for (uint32_t t = 0; t < tokens; ++t) {
      model_.Inputs(t * 7919, 0, &inputs[t * GetParam().input_bytes()]);
    }
    return inputs;
  }
};

TEST_P(ExactStateTest, IsTheNaiveState) {
  for (const base::StateType type : {base::StateType::kFloat32, base::StateType::kBf16}) {
    base::StateSpec spec = GetParam();
    spec.temporal_type = type;
    const std::vector<std::byte> inputs = Inputs(kTokens);
    NaiveState naive(spec, decay());
    for (uint32_t t = 0; t < kTokens; ++t) naive.Step(&inputs[t * spec.input_bytes()]);
    ExactState exact(spec, decay());
    for (uint32_t at = 0, step = 1; at < kTokens; at += step, step = step * 2 + 1) {  // uneven runs
      step = std::min(step, kTokens - at);
      exact.Advance(&inputs[at * spec.input_bytes()], step);
    }
    // Only the rounding of the bytes is between them.
    const double unit = type == base::StateType::kFloat32 ? 6e-8 : 4e-3;
    EXPECT_LT(exact.RelativeL2(naive.Bytes().data()), unit);
    if (type == base::StateType::kBf16) {
      EXPECT_GT(exact.RelativeL2(naive.Bytes().data()), 1e-4);
    }
  }
}

TEST_P(ExactStateTest, OfNoTokenIsZero) {
  ExactState exact(GetParam(), decay());
  const std::vector<std::byte> zero(GetParam().temporal_bytes());
  EXPECT_EQ(exact.RelativeL2(zero.data()), 0);
  const std::vector<std::byte> inputs = Inputs(1);
  NaiveState naive(GetParam(), decay());
  naive.Step(inputs.data());
  EXPECT_GT(exact.RelativeL2(naive.Bytes().data()), 0);  // against zero: its own size
  exact.Advance(inputs.data(), 1);
  EXPECT_EQ(exact.RelativeL2(zero.data()), 1);
  exact.Clear();
  EXPECT_EQ(exact.RelativeL2(zero.data()), 0);
}

TEST_P(ExactStateTest, ValuesAreAllOfIt) {
  const std::vector<std::byte> inputs = Inputs(20);
  ExactState first(GetParam(), decay()), second(GetParam(), decay());
  first.Advance(inputs.data(), 12);
  second.set_values(first.values());
  first.Advance(&inputs[12 * GetParam().input_bytes()], 8);
  second.Advance(&inputs[12 * GetParam().input_bytes()], 8);
  EXPECT_EQ(first.values(), second.values());
}

INSTANTIATE_TEST_SUITE_P(Families, ExactStateTest, testing::ValuesIn(SmallStates()),
                         [](const auto& info) {
                           return std::string(base::ToString(info.param.family));
                         });

// Constants that are no multiples of the first one need an exponential an entry.
TEST(ExactStateMamba1Test, AnyConstants) {
  const base::StateSpec spec = SmallStates()[0];
  const StateModel model(ModelOf(spec));
  std::mt19937 random(3);
  std::vector<float> decay(size_t{spec.value_dim} * spec.key_dim);
  for (float& a : decay) a = -static_cast<float>(random() % 1000) / 100;
  NaiveState naive(spec, decay.data());
  ExactState exact(spec, decay.data());
  std::vector<std::byte> inputs(spec.input_bytes());
  for (uint32_t t = 0; t < kTokens; ++t) {
    model.Inputs(t, 0, inputs.data());
    naive.Step(inputs.data());
    exact.Advance(inputs.data(), 1);
  }
  EXPECT_LT(exact.RelativeL2(naive.Bytes().data()), 6e-8);
}

}  // namespace
}  // namespace cistern::tools
