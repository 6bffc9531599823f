// Presets are the published models under short names, and their first layers are other models.
#include "base/model_presets.h"

#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

TEST(ModelPresetsTest, DeepSeekV2Lite) {
  const absl::StatusOr<ModelSpec> spec = ModelPreset("deepseek-v2-lite");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name, "deepseek-ai/DeepSeek-V2-Lite");
  EXPECT_EQ(spec->num_layers, 27u);
  EXPECT_EQ(spec->token_bytes(), 31104u);
}

TEST(ModelPresetsTest, EveryPresetLoadsAndIsItsOwnModel) {
  const std::vector<std::string> names = ModelPresetNames();
  EXPECT_EQ(names, (std::vector<std::string>{"deepseek-v2-lite", "deepseek-v2", "deepseek-v3",
                                             "kimi-k2", "moonlight", "glm-4.7-flash", "glm-5",
                                             "mistral-large-3", "joyai-llm-flash", "kimi-linear",
                                             "jamba-1.5-mini", "nemotron-h-8b", "nemotron-3-nano",
                                             "qwen3-next", "granite-4.0-h-small", "minimax-01"}));
  const std::vector<uint64_t> bytes = {31104, 69120, 70272, 70272, 31104, 54144, 89856, 70272,
                                       46080, 8064,  16384, 16384, 6144,  24576, 16384, 40960};
  // A checkpoint, all state layers, float32.
  const std::vector<uint64_t> state_bytes = {
      0, 0,        0,        0,         0,        0,        0,         0,
      0, 43417600, 16056320, 102137856, 49082368, 77266944, 152819712, 293601280};
  std::set<Key> fingerprints;
  for (size_t i = 0; i < names.size(); ++i) {
    const absl::StatusOr<ModelSpec> spec = ModelPreset(names[i]);
    ASSERT_TRUE(spec.ok()) << names[i] << ": " << spec.status();
    EXPECT_EQ(spec->token_bytes(), bytes[i]) << names[i];
    EXPECT_EQ(spec->state.checkpoint_bytes(), state_bytes[i]) << names[i];
    EXPECT_EQ(spec->rotary.TableScale(), 1.0) << names[i];
    EXPECT_GT(spec->flops_per_token, 0u) << names[i];
    EXPECT_GT(spec->flops_per_token_pair, 0u) << names[i];
    fingerprints.insert(spec->Fingerprint());
  }
  EXPECT_EQ(fingerprints.size(), names.size());
}

TEST(ModelPresetsTest, UnknownNameListsTheNames) {
  EXPECT_INVALID(ModelPreset("gpt-2"), "no model preset 'gpt-2'; there are deepseek-v2-lite, ");
  EXPECT_INVALID(ModelPreset(""), "kimi-linear, jamba-1.5-mini");
}

TEST(ModelPresetsTest, FirstLayersAreAnotherModel) {
  const ModelSpec whole = ModelPreset("deepseek-v2-lite").value();
  const ModelSpec part = WithLayers(whole, 2);
  ASSERT_TRUE(part.Validate().ok()) << part.Validate();
  EXPECT_EQ(part.num_layers, 2u);
  EXPECT_EQ(part.token_bytes(), 2304u);
  EXPECT_EQ(part.name, "deepseek-ai/DeepSeek-V2-Lite[0:2]");
  EXPECT_NE(part.Fingerprint(), whole.Fingerprint());
  EXPECT_EQ(part.rotary, whole.rotary);
  EXPECT_EQ(part.flops_per_token_pair, whole.flops_per_token_pair / 27 * 2);
  EXPECT_NEAR(static_cast<double>(part.flops_per_token),
              static_cast<double>(whole.flops_per_token) * 2 / 27, 1.0);
  EXPECT_NE(WithLayers(whole, 3).Fingerprint(), part.Fingerprint());
}

// Kimi-Linear: 7 layers with rows, 20 with state.
TEST(ModelPresetsTest, FirstLayersOfEachKind) {
  const ModelSpec whole = ModelPreset("kimi-linear").value();
  const ModelSpec two = WithLayers(whole, 2);
  EXPECT_EQ(two.num_layers, 2u);
  EXPECT_EQ(two.state.num_layers, 2u);
  EXPECT_EQ(two.state.layer_bytes(), whole.state.layer_bytes());
  EXPECT_NEAR(static_cast<double>(two.flops_per_token),
              static_cast<double>(whole.flops_per_token) * 4 / 27, 1.0);
  EXPECT_EQ(two.flops_per_token_pair, whole.flops_per_token_pair / 7 * 2);
  const ModelSpec ten = WithLayers(whole, 10);
  EXPECT_EQ(ten.num_layers, 7u);
  EXPECT_EQ(ten.state.num_layers, 10u);
  EXPECT_EQ(ten.flops_per_token_pair, whole.flops_per_token_pair);
  EXPECT_NE(ten.Fingerprint(), whole.Fingerprint());
}

TEST(ModelPresetsTest, AsManyLayersOrMoreIsTheSameModel) {
  const ModelSpec whole = ModelPreset("kimi-linear").value();
  EXPECT_EQ(WithLayers(whole, 20), whole);
  EXPECT_EQ(WithLayers(whole, 1000), whole);
}

TEST(ModelPresetsTest, NoLayersAreRefusedByValidate) {
  EXPECT_INVALID(WithLayers(ModelPreset("glm-5").value(), 0).Validate(), "num_layers is 0");
  EXPECT_INVALID(WithLayers(ModelPreset("qwen3-next").value(), 0).Validate(), "num_layers is 0");
}

}  // namespace
}  // namespace cistern::base
