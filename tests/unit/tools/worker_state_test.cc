// The bench's worker advances its state as the oracle says, in steps of any size, and resumes from
// bytes that came from elsewhere.
#include "tools/bench/worker_state.h"

#include <cstring>
#include <numeric>

#include "gtest/gtest.h"

#include "tests/unit/tools/naive_state.h"
#include "tools/bench/state_oracle.h"

namespace cistern::tools {
namespace {

base::ModelSpec WorkerModel(base::StateSpec state) {
  state.key_dim = state.family == base::StateFamily::kMamba1 ? 8 : 32;  // as the kernels want them
  state.value_dim = state.family == base::StateFamily::kMamba1 ? 48 : 16;
  base::ModelSpec spec;
  spec.name = "test";
  spec.num_layers = 1;
  spec.state = state;
  return spec;
}

class WorkerStateTest : public testing::TestWithParam<base::StateSpec> {
 protected:
  WorkerStateTest() : tokens_(700) { std::iota(tokens_.begin(), tokens_.end(), 40); }

  void ExpectRight(uint32_t position, const StateView& view) {
    oracle_.Begin(tokens_);
    const StateCheck check = oracle_.Check(position, view);
    EXPECT_LT(check.relative_l2, 2e-6) << position;
    EXPECT_TRUE(check.conv_equal) << position;
  }

  std::vector<base::TokenId> tokens_;
  const StateModel model_{WorkerModel(GetParam())};
  StateOracle oracle_{model_, 1 << 20};
  WorkerState state_{model_};
};

TEST_P(WorkerStateTest, AdvancesInStepsOfAnySize) {
  state_.Begin(tokens_);
  for (const uint32_t end : {0u, 1u, 3u, 3u, 300u, 700u}) {
    ASSERT_TRUE(state_.Advance(end).ok());
    EXPECT_EQ(state_.position(), end);
    ExpectRight(end, state_.view());
  }
  state_.Begin(tokens_);
  ExpectRight(0, state_.view());
}

TEST_P(WorkerStateTest, GoesOnFromAState) {
  state_.Begin(tokens_);
  ASSERT_TRUE(state_.Advance(350).ok());
  const StatePoint point = state_.Copy();
  ASSERT_TRUE(state_.Advance(400).ok());
  EXPECT_EQ(point.position, 350u);
  ExpectRight(350, point.state);
  WorkerState other(model_);
  other.Begin(tokens_);
  for (uint32_t layer = 0; layer < 2; ++layer) {
    std::memcpy(other.view().temporal[layer], point.state.temporal[layer],
                model_.spec().temporal_bytes());
    if (model_.spec().conv_width == 0) continue;
    std::memcpy(other.view().conv[layer], point.state.conv[layer], model_.spec().conv_bytes());
  }
  other.Resumed(350);
  ASSERT_TRUE(other.Advance(352).ok());  // fewer than a convolution is wide
  ExpectRight(352, other.view());
}

TEST_P(WorkerStateTest, LogsHoldTheInputs) {
  state_.Begin(tokens_);
  const LogSource log = state_.Log(100, 110);
  EXPECT_EQ(log.begin, 100u);
  EXPECT_EQ(log.end, 110u);
  const std::vector<uint64_t> widths = model_.spec().field_bytes();
  ASSERT_EQ(log.fields.size(), widths.size());
  for (uint32_t layer = 0; layer < 2; ++layer) {
    std::vector<std::byte> inputs(model_.spec().input_bytes());
    model_.Inputs(tokens_[107], layer, inputs.data());
    uint64_t offset = 0;
    for (size_t i = 0; i < widths.size(); ++i) {
      const LogSource::Field& field = log.fields[i];
      EXPECT_EQ(
          std::memcmp(field.layers[layer] + 7 * field.token_stride, &inputs[offset], widths[i]), 0)
          << i;
      offset += widths[i];
    }
  }
  EXPECT_TRUE(state_.Log(0, 0).fields.empty());
}

INSTANTIATE_TEST_SUITE_P(Families, WorkerStateTest, testing::ValuesIn(SmallStates()),
                         [](const auto& info) {
                           return std::string(base::ToString(info.param.family));
                         });

}  // namespace
}  // namespace cistern::tools
