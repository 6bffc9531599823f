// A hybrid model's rows and state through the C interface.
#include "base/model_spec.h"
#include "tests/unit/client_lib/c/c_fixture.h"
#include "tests/unit/client_lib/state_sequence.h"

namespace cistern::c {
namespace {

constexpr uint32_t kStateTokens = 136, kCheckpointTokens = 128;

class CStatesTest : public CTest {
 protected:
  void SetUp() override {
    CTest::SetUp();
    spec_.name = "hybrid";
    spec_.revision = "1";
    spec_.num_layers = 2;
    spec_.rotary.style = base::RotaryStyle::kNone;
    spec_.state = testing::SmallState(base::StateFamily::kMamba2);
    const std::string json = spec_.ToJson();
    ASSERT_EQ(cistern_model_from_json(json.data(), json.size(), &model_, &error_), CISTERN_OK)
        << message();
  }

  base::ModelSpec spec_;
  const std::vector<uint32_t> tokens_ = SomeTokens(kStateTokens, 3);
};

std::vector<void*> PointersOf(const std::vector<std::byte*>& from) {
  return {from.begin(), from.end()};
}

TEST_F(CStatesTest, ACheckpointAndALogAreResumed) {
  const testing::StateSequence sequence(spec_.state, tokens_);
  const cistern_prompt prompt = PromptOf(tokens_);
  Cache computed(2, spec_.row_bytes, kStateTokens);
  computed.Fill(tokens_);
  const cistern_paged_cache cache = computed.view();
  auto rows = Sized<cistern_rows>();
  rows.cache = &cache;
  ASSERT_EQ(cistern_publish(client_, model_, &prompt, nullptr, {0, kStateTokens}, &rows, nullptr,
                            &error_),
            CISTERN_OK)
      << message();

  std::vector<testing::StateMemory> memory = {sequence.At(kCheckpointTokens),
                                              sequence.At(kStateTokens)};
  std::vector<std::vector<void*>> temporal, conv;
  for (testing::StateMemory& one : memory) {
    temporal.push_back(PointersOf(one.view().temporal));
    conv.push_back(PointersOf(one.view().conv));
  }
  std::vector<cistern_state> states(2, Sized<cistern_state>());
  std::vector<cistern_state_point> points(2);
  for (int i = 0; i < 2; ++i) {
    states[i].temporal = temporal[i].data();
    states[i].conv = conv[i].data();
    points[i] = {i == 0 ? kCheckpointTokens : kStateTokens, 0, &states[i]};
  }
  const LogSource log = sequence.Log(kCheckpointTokens, kStateTokens);
  std::vector<std::vector<const void*>> layers;
  std::vector<cistern_log_field> fields;
  for (const LogSource::Field& field : log.fields)
    layers.emplace_back(field.layers.begin(), field.layers.end());
  for (size_t i = 0; i < layers.size(); ++i)
    fields.push_back({layers[i].data(), log.fields[i].token_stride});
  auto source = Sized<cistern_state_source>();
  source.points = points.data();
  source.num_points = points.size();
  source.log_begin = kCheckpointTokens;
  source.log_end = kStateTokens;
  source.log_fields = fields.data();
  source.max_chain_tokens = 100;
  auto report = Sized<cistern_state_report>();
  ASSERT_EQ(cistern_publish_states(client_, model_, &prompt, nullptr, &source, &report, &error_),
            CISTERN_OK)
      << message();
  EXPECT_EQ(report.checkpoints, 1u);
  EXPECT_EQ(report.logs, 1u);

  std::vector<uint32_t> longer = tokens_;
  longer.push_back(17);
  const cistern_prompt next = PromptOf(longer);
  cistern_plan* plan = nullptr;
  ASSERT_EQ(cistern_make_plan(client_, model_, &next, nullptr, &plan, &error_), CISTERN_OK);
  auto info = Sized<cistern_plan_info>();
  ASSERT_EQ(cistern_plan_get_info(plan, &info, &error_), CISTERN_OK);
  EXPECT_EQ(info.resume_position, kStateTokens);
  EXPECT_EQ(info.checkpoint_position, kCheckpointTokens);
  EXPECT_EQ(info.folded_tokens, kStateTokens - kCheckpointTokens);
  EXPECT_EQ(cistern_plan_wanted_states(plan, nullptr, 0), 0u);

  Cache mine(2, spec_.row_bytes, kStateTokens + 1);
  const cistern_paged_cache destination = mine.view();
  testing::StateMemory resumed(spec_.state);
  const auto to_temporal = PointersOf(resumed.view().temporal);
  const auto to_conv = PointersOf(resumed.view().conv);
  auto state = Sized<cistern_state>();
  state.temporal = to_temporal.data();
  state.conv = to_conv.data();
  const StateConstants constants = sequence.constants();
  auto options = Sized<cistern_fetch_options>();
  cistern_fetch_options_init(&options, sizeof(options));
  options.state = &state;
  options.decay = constants.decay.data();
  cistern_fetch* fetch = nullptr;
  ASSERT_EQ(cistern_fetch_start(client_, plan, &destination, &options, &fetch, &error_), CISTERN_OK)
      << message();
  cistern_result* result = nullptr;
  ASSERT_EQ(cistern_fetch_wait(fetch, &result, &error_), CISTERN_OK) << message();
  auto got = Sized<cistern_result_info>();
  EXPECT_EQ(cistern_result_get_info(result, &got, &error_), CISTERN_OK);
  EXPECT_EQ(got.state_position, kStateTokens);
  EXPECT_LE(resumed.DistanceTo(memory[1]), 2e-6);
  EXPECT_EQ(resumed.conv(), memory[1].conv());
  EXPECT_EQ(std::memcmp(mine.Row(1, 130), computed.Row(1, 130), spec_.row_bytes), 0);
  cistern_result_free(result);
  cistern_fetch_free(fetch);
  cistern_plan_free(plan);
}

TEST_F(CStatesTest, WhatIsMissingIsNamed) {
  const cistern_prompt prompt = PromptOf(tokens_);
  auto source = Sized<cistern_state_source>();
  source.num_points = 1;
  EXPECT_EQ(cistern_publish_states(client_, model_, &prompt, nullptr, &source, nullptr, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "source.points is NULL");
  auto state = Sized<cistern_state>();
  const cistern_state_point point = {kStateTokens, 0, &state};
  source.points = &point;
  EXPECT_EQ(cistern_publish_states(client_, model_, &prompt, nullptr, &source, nullptr, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "source.points[0].state.conv is NULL");
  cistern_model* plain = nullptr;
  ASSERT_EQ(cistern_model_preset("deepseek-v2-lite", 2, &plain, &error_), CISTERN_OK);
  EXPECT_EQ(cistern_publish_states(client_, plain, &prompt, nullptr, &source, nullptr, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "the model has no recurrent state");
  cistern_model_free(plain);
}

}  // namespace
}  // namespace cistern::c
