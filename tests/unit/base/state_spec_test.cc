#include "base/state_spec.h"

#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

struct Sizes {
  const char* name;
  StateSpec spec;
  uint64_t conv, temporal, snapshot, inputs;
  uint32_t break_even;
};

// Bytes: published configurations, in the layouts of vLLM and flash-linear-attention.
std::vector<Sizes> Known() {
  using F = StateFamily;
  return {
      {"Qwen3-Next-80B-A3B",
       {F::kGatedDelta, 36, 32, 16, 128, 128, 3, 8192},
       49'152,
       2'097'152,
       77'266'944,
       12'544,
       167},
      {"Kimi-Linear-48B-A3B",
       {F::kKda, 20, 32, 32, 128, 128, 3, 12'288},
       73'728,
       2'097'152,
       43'417'600,
       32'896,
       63},
      {"Nemotron-H-8B",
       {F::kMamba2, 24, 128, 8, 128, 64, 3, 10'240},
       61'440,
       4'194'304,
       102'137'856,
       18'944,
       221},
      {"Jamba-1.5-mini",
       {F::kMamba1, 28, 1, 1, 16, 8192, 3, 8192},
       49'152,
       524'288,
       16'056'320,
       32'800,
       15},
      {"MiniMax-Text-01",
       {F::kLightning, 70, 64, 64, 128, 128, 0, 0},
       0,
       4'194'304,
       293'601'280,
       32'768,
       128},
  };
}

TEST(StateSpecTest, SizesOfKnownModels) {
  for (const Sizes& known : Known()) {
    SCOPED_TRACE(known.name);
    ASSERT_TRUE(known.spec.Validate().ok()) << known.spec.Validate();
    EXPECT_EQ(known.spec.conv_bytes(), known.conv);
    EXPECT_EQ(known.spec.temporal_bytes(), known.temporal);
    EXPECT_EQ(known.spec.checkpoint_bytes(), known.snapshot);
    EXPECT_EQ(known.spec.input_bytes(), known.inputs);
    EXPECT_EQ(known.spec.BreakEvenTokens(), known.break_even);
    StateSpec half = known.spec;
    half.temporal_type = StateType::kBf16;
    EXPECT_EQ(half.temporal_bytes(), known.temporal / 2);
  }
}

TEST(StateSpecTest, FieldsAreTheInputs) {
  for (const Sizes& known : Known()) {
    SCOPED_TRACE(known.name);
    const std::vector<uint64_t> fields = known.spec.field_bytes();
    EXPECT_EQ(std::accumulate(fields.begin(), fields.end(), uint64_t{0}), known.inputs);
  }
  EXPECT_EQ(Known()[0].spec.field_bytes(), (std::vector<uint64_t>{4096, 8192, 128, 128}));
  EXPECT_EQ(Known()[2].spec.field_bytes(), (std::vector<uint64_t>{16'384, 2048, 512}));
  EXPECT_EQ(Known()[3].spec.field_bytes(), (std::vector<uint64_t>{16'384, 16'384, 32}));
}

TEST(StateSpecTest, GatedLinearLogsADecayAChannel) {
  const StateSpec spec{StateFamily::kGatedLinear, 2, 4, 2, 16, 32, 0, 0};
  EXPECT_EQ(spec.input_bytes(), 2u * 2 * 16 + 2 * 4 * 32 + 4 * 4 * 16);
}

TEST(StateSpecTest, LogsHaveTailsAtTheirEndOrAtEveryToken) {
  const StateSpec spec = Known()[0].spec;
  EXPECT_EQ(spec.log_token_bytes(LogTails::kEnd), 36u * 12'544);
  EXPECT_EQ(spec.log_token_bytes(LogTails::kEveryToken), 36u * (12'544 + 16'384));
  EXPECT_EQ(spec.log_bytes(10, LogTails::kEnd), 36u * (10 * 12'544 + 49'152));
  EXPECT_EQ(spec.log_bytes(10, LogTails::kEveryToken), 36u * 10 * (12'544 + 16'384));
}

TEST(StateSpecTest, NoneHasNothing) {
  const StateSpec none;
  EXPECT_TRUE(none.Validate().ok());
  EXPECT_FALSE(none.present());
  EXPECT_EQ(none.checkpoint_bytes(), 0u);
  EXPECT_EQ(none.log_bytes(5, LogTails::kEnd), 0u);
  EXPECT_EQ(none.BreakEvenTokens(), 0u);
}

TEST(StateSpecTest, Faults) {
  using Fault = std::pair<std::string, std::function<void(StateSpec*)>>;
  const std::vector<Fault> faults = {
      {"state.family is none", [](StateSpec* s) { s->family = StateFamily::kNone; }},
      {"unknown state.family", [](StateSpec* s) { s->family = static_cast<StateFamily>(7); }},
      {"unknown state.family or state.temporal_type",
       [](StateSpec* s) { s->temporal_type = static_cast<StateType>(2); }},
      {"state.num_layers is 0", [](StateSpec* s) { s->num_layers = 0; }},
      {"state.num_layers is 1025", [](StateSpec* s) { s->num_layers = 1025; }},
      {"state.num_heads is 0", [](StateSpec* s) { s->num_heads = 0; }},
      {"state.num_key_heads is 0", [](StateSpec* s) { s->num_key_heads = 0; }},
      {"state.num_key_heads is 33", [](StateSpec* s) { s->num_key_heads = 33; }},
      {"must divide num_heads, 32", [](StateSpec* s) { s->num_key_heads = 5; }},
      {"state.key_dim is 0", [](StateSpec* s) { s->key_dim = 0; }},
      {"state.value_dim is 65537", [](StateSpec* s) { s->value_dim = 65'537; }},
      {"both, or neither", [](StateSpec* s) { s->conv_width = 0; }},
      {"both, or neither", [](StateSpec* s) { s->conv_channels = 0; }},
      {"state.conv_width is 65", [](StateSpec* s) { s->conv_width = 65; }},
      {"state.layer_bytes is", [](StateSpec* s) { s->key_dim = s->value_dim = 65'536; }}};
  for (const auto& [problem, break_it] : faults) {
    StateSpec spec = Known()[0].spec;
    break_it(&spec);
    EXPECT_INVALID(spec.Validate(), problem);
  }
}

TEST(StateSpecTest, NamesAreReadBack) {
  for (int i = 0; i <= 6; ++i) {
    const auto family = static_cast<StateFamily>(i);
    const auto read = ParseStateFamily(ToString(family));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, family);
  }
  EXPECT_INVALID(ParseStateFamily("mamba3").status(), "unknown state.family 'mamba3'");
  EXPECT_INVALID(ParseStateType("fp8").status(), "unknown state.temporal_type 'fp8'");
  EXPECT_EQ(*ParseStateType(ToString(StateType::kBf16)), StateType::kBf16);
  EXPECT_EQ(*ParseStateType(ToString(StateType::kFloat32)), StateType::kFloat32);
}

}  // namespace
}  // namespace cistern::base
