// PublishedHybrid configurations of hybrid models give the rows and states that engines keep, byte
// for byte, and what cannot be is refused with the field's name.
#include "base/hybrid_config.h"

#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "base/model_config.h"
#include "tests/unit/base/test_status.h"
#include <nlohmann/json.hpp>

namespace cistern::base {
namespace {

using Json = nlohmann::json;
using Change = std::function<void(Json&)>;

absl::StatusOr<ModelSpec> LoadHybrid(const std::string& file, const Change& change = nullptr,
                                     const ModelConfigOptions& options = {}) {
  std::ifstream stream(absl::StrCat(CISTERN_TEST_CONFIGS, "/", file, ".json"));
  EXPECT_TRUE(stream.good()) << file;
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  Json json = Json::parse(text);
  if (change) change(json.contains("text_config") ? json["text_config"] : json);
  return ModelSpecFromHfConfig(json.dump(), "some/model", "r1", options);
}

Change Set(const std::string& field, const Json& value) {
  return [=](Json& json) { json[field] = value; };
}

Change Erase(const std::string& field) {
  return [=](Json& json) { json.erase(field); };
}

// A Nemotron pattern of as many layers of each kind.
std::string Pattern(uint32_t mamba, uint32_t attention) {
  return std::string(mamba, 'M') + std::string(attention, '*');
}

Json GatedDeltaLayers(uint32_t layers) {
  Json types = Json::array();
  for (uint32_t i = 0; i < layers; ++i) {
    types.push_back(i % 4 == 3 ? "full_attention" : "linear_attention");
  }
  return types;
}

struct PublishedHybrid {
  const char* name;
  const char* file;
  Change change;  // to the file's configuration
  StateFamily family;
  uint32_t row_layers;
  uint32_t row_bytes;
  uint32_t state_layers;
  uint64_t conv_bytes;         // a layer
  uint64_t temporal_bytes;     // a layer, float32
  uint64_t checkpoint_bytes;   // float32
  uint64_t checkpoint_bf16;    // all bf16
  uint64_t input_bytes;        // a token in a layer; 0: not published
  double recurrence_gflop_1k;  // a thousand tokens, all layers; 0: not published
};

std::vector<PublishedHybrid> AllPublished() {
  const auto nemotron = [](uint32_t mamba, uint32_t attention, uint32_t heads, uint32_t state) {
    return [=](Json& json) {
      json["hybrid_override_pattern"] = Pattern(mamba, attention);
      json.erase("num_hidden_layers");
      json["mamba_num_heads"] = heads;
      json["ssm_state_size"] = state;
    };
  };
  const auto granite = [](uint32_t heads, uint32_t hidden) {
    return [=](Json& json) {
      json["mamba_n_heads"] = heads;
      json["hidden_size"] = hidden;
      json["mamba_d_head"] = "auto";
    };
  };
  const auto qwen = [](uint32_t layers, uint32_t value_heads) {
    return [=](Json& json) {
      json["layer_types"] = GatedDeltaLayers(layers);
      json["num_hidden_layers"] = layers;
      json["linear_num_value_heads"] = value_heads;
    };
  };
  const auto kimi_k3 = [](Json& json) {
    json["num_hidden_layers"] = 93;
    json["linear_attn_config"]["num_heads"] = 96;
    json["linear_attn_config"].erase("kda_layers");
    Json full = Json::array();
    for (uint32_t i = 1; i <= 24; ++i) full.push_back(i * 3);
    json["linear_attn_config"]["full_attn_layers"] = full;
  };
  using F = StateFamily;
  return {
      {"Jamba-1.5-mini", "jamba_1_5_mini", nullptr, F::kMamba1, 4, 4096, 28, 49152, 524288,
       16056320, 8716288, 32800, 11.01},
      {"Nemotron-H-8B", "nemotron_h_8b", nullptr, F::kMamba2, 4, 4096, 24, 61440, 4194304,
       102137856, 51806208, 18944, 75.50},
      {"Nemotron-H-56B", "nemotron_h_8b", nemotron(54, 10, 256, 256), F::kMamba2, 10, 4096, 54,
       122880, 16777216, 912605184, 459620352, 37888, 679.48},
      {"Nemotron-3-Nano", "nemotron_3_nano", nullptr, F::kMamba2, 6, 1024, 23, 36864, 2097152,
       49082368, 24965120, 10496, 36.18},
      {"Nemotron-3-Super", "nemotron_3_nano", nemotron(40, 8, 128, 128), F::kMamba2, 8, 1024, 40,
       61440, 4194304, 170229760, 86343680, 18944, 125.83},
      {"Nemotron-3-Ultra", "nemotron_3_nano", nemotron(48, 12, 256, 128), F::kMamba2, 12, 1024, 48,
       110592, 8388608, 407961600, 206635008, 35840, 301.99},
      {"Granite-4.0-h-micro", "granite_4_0_h_small", granite(64, 2048), F::kMamba2, 4, 2048, 36,
       26112, 2097152, 76437504, 38688768, 0, 0},
      {"Granite-4.0-h-tiny", "granite_4_0_h_small", granite(48, 1536), F::kMamba2, 4, 1536, 36,
       19968, 1572864, 57341952, 29030400, 0, 0},
      {"Granite-4.0-h-small", "granite_4_0_h_small", nullptr, F::kMamba2, 4, 4096, 36, 50688,
       4194304, 152819712, 77322240, 17152, 113.25},
      {"Qwen3-Next", "qwen3_next", nullptr, F::kGatedDelta, 12, 2048, 36, 49152, 2097152, 77266944,
       39518208, 12544, 94.37},
      {"Qwen3.5-35B-A3B", "qwen3_5_35b_a3b", nullptr, F::kGatedDelta, 10, 2048, 30, 49152, 2097152,
       64389120, 32931840, 12544, 78.64},
      {"Qwen3.6-27B", "qwen3_5_35b_a3b", qwen(64, 48), F::kGatedDelta, 16, 2048, 48, 61440, 3145728,
       153944064, 78446592, 16768, 188.74},
      {"Qwen3.5-397B-A17B", "qwen3_5_35b_a3b", qwen(60, 64), F::kGatedDelta, 15, 2048, 45, 73728,
       4194304, 192061440, 97689600, 20992, 235.93},
      {"Kimi-Linear", "kimi_linear", nullptr, F::kKda, 7, 1152, 20, 73728, 2097152, 43417600,
       22446080, 32896, 52.43},
      {"Kimi-K3", "kimi_linear", kimi_k3, F::kKda, 24, 1152, 69, 221184, 6291456, 449372160,
       232316928, 98688, 542.64},
      {"MiniMax-Text-01", "minimax_text_01", nullptr, F::kLightning, 10, 4096, 70, 0, 4194304,
       293601280, 146800640, 32768, 220.20},
  };
}

TEST(HybridConfigTest, PublishedStates) {
  for (const PublishedHybrid& model : AllPublished()) {
    SCOPED_TRACE(model.name);
    const absl::StatusOr<ModelSpec> spec = LoadHybrid(model.file, model.change);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->num_layers, model.row_layers);
    EXPECT_EQ(spec->row_bytes, model.row_bytes);
    const StateSpec& state = spec->state;
    EXPECT_EQ(state.family, model.family);
    EXPECT_EQ(state.num_layers, model.state_layers);
    EXPECT_EQ(state.conv_bytes(), model.conv_bytes);
    EXPECT_EQ(state.temporal_bytes(), model.temporal_bytes);
    EXPECT_EQ(state.checkpoint_bytes(), model.checkpoint_bytes);
    if (model.input_bytes != 0) {
      EXPECT_EQ(state.input_bytes(), model.input_bytes);
      const bool delta =
          state.family == StateFamily::kGatedDelta || state.family == StateFamily::kKda;
      const double flop = (delta ? 5.0 : 3.0) * static_cast<double>(state.temporal_bytes()) / 4;
      EXPECT_NEAR(flop * state.num_layers * 1000 / 1e9, model.recurrence_gflop_1k, 0.01);
    }

    const absl::StatusOr<ModelSpec> bf16 =
        LoadHybrid(model.file, model.change, {.state_type = StateType::kBf16});
    ASSERT_TRUE(bf16.ok()) << bf16.status();
    EXPECT_EQ(bf16->state.checkpoint_bytes(), model.checkpoint_bf16);
    EXPECT_NE(bf16->Fingerprint(), spec->Fingerprint());
  }
}

// K and V per head lie as the engine lays them: nobody turns them, whatever layout was asked for.
TEST(HybridConfigTest, RowsOfKAndVAreOpaque) {
  for (const PublishedHybrid& model : AllPublished()) {
    if (absl::StartsWith(model.name, "Kimi")) continue;
    for (const RowLayout layout :
         {RowLayout::kBf16_576, RowLayout::kFp8DsMla656, RowLayout::kOpaque}) {
      const absl::StatusOr<ModelSpec> spec =
          LoadHybrid(model.file, model.change, {.layout = layout});
      ASSERT_TRUE(spec.ok()) << model.name << ": " << spec.status();
      EXPECT_EQ(spec->layout, RowLayout::kOpaque);
      EXPECT_EQ(spec->rotary.style, RotaryStyle::kNone);
      EXPECT_FALSE(spec->movable());
      EXPECT_EQ(*spec, *LoadHybrid(model.file, model.change)) << model.name;
    }
  }
  EXPECT_EQ(LoadHybrid("kimi_linear")->layout, RowLayout::kBf16_576);
}

// Two FLOPs for each weight that a token meets: within 10 % of the published number of active
// parameters, without embeddings; the recurrence comes on top.
TEST(HybridConfigTest, FlopsPerTokenFollowTheActiveParameters) {
  struct Active {
    const char* file;
    double billions;
  };
  constexpr Active kActive[] = {{"jamba_1_5_mini", 11.5}, {"nemotron_h_8b", 7.0},
                                {"nemotron_3_nano", 3.2}, {"qwen3_next", 3.1},
                                {"qwen3_5_35b_a3b", 2.5}, {"granite_4_0_h_small", 8.6},
                                {"minimax_text_01", 45.9}};
  for (const Active& model : kActive) {
    const absl::StatusOr<ModelSpec> spec = LoadHybrid(model.file);
    ASSERT_TRUE(spec.ok()) << spec.status();
    const double billions = static_cast<double>(spec->flops_per_token) / 2e9;
    EXPECT_NEAR(billions, model.billions, 0.1 * model.billions) << model.file;
  }
  EXPECT_EQ(LoadHybrid("qwen3_next")->flops_per_token_pair, 12u * 16 * 2 * (256 + 256));
}

// By hand, layer by layer.
TEST(HybridConfigTest, FlopsOfASmallJamba) {
  const absl::StatusOr<ModelSpec> spec = LoadHybrid("jamba_1_5_mini", [](Json& json) {
    json["hidden_size"] = 64;
    json["intermediate_size"] = 100;
    json["num_attention_heads"] = 4;
    json["num_key_value_heads"] = 2;
    json["num_hidden_layers"] = 8;
    json["mamba_dt_rank"] = "auto";  // 64 / 16
  });
  ASSERT_TRUE(spec.ok()) << spec.status();
  constexpr uint64_t kHidden = 64, kInner = 128;
  const uint64_t attention = kHidden * 64 * 2 + kHidden * 32 * 2;
  const uint64_t mamba =
      kHidden * 2 * kInner + kInner * (4 + 32) + 4 * kInner + kInner * kHidden + kInner * 4;
  const uint64_t dense = 3 * kHidden * 100, experts = 2 * dense + kHidden * 16;
  EXPECT_EQ(spec->flops_per_token,
            2 * (attention + 7 * mamba + 4 * dense + 4 * experts) + kInner * 7 * 3 * 16);
  EXPECT_EQ(spec->flops_per_token_pair, 4 * kHidden);
}

TEST(HybridConfigTest, FlopsAreUnknownWhereTheConfigurationDoesNotSay) {
  for (const char* field : {"intermediate_size", "hidden_size"}) {
    for (const char* file : {"nemotron_h_8b", "minimax_text_01"}) {
      const absl::StatusOr<ModelSpec> spec = LoadHybrid(file, Erase(field));
      ASSERT_TRUE(spec.ok()) << file << ": " << spec.status();
      EXPECT_EQ(spec->flops_per_token, 0u) << file << " without " << field;
    }
  }
}

TEST(HybridConfigTest, SpellingsOfOneModelAgree) {
  const ModelSpec nemotron = LoadHybrid("nemotron_3_nano").value();
  const auto listed = [](absl::string_view mamba, absl::string_view attention, const char* field) {
    return [=](Json& json) {
      const std::string pattern = json["hybrid_override_pattern"];
      json.erase("hybrid_override_pattern");
      json.erase("num_hidden_layers");
      for (const char c : pattern) {
        json[field].push_back(std::string(c == 'M' ? mamba : c == '*' ? attention : "moe"));
      }
    };
  };
  EXPECT_EQ(*LoadHybrid("nemotron_3_nano", listed("mamba", "attention", "layers_block_type")),
            nemotron);
  EXPECT_EQ(
      *LoadHybrid("nemotron_3_nano", listed("linear_attention", "full_attention", "layer_types")),
      nemotron);
  const ModelSpec next = LoadHybrid("qwen3_next").value();
  EXPECT_EQ(*LoadHybrid("qwen3_next", Set("layer_types", GatedDeltaLayers(48))), next);
  EXPECT_EQ(*LoadHybrid("qwen3_next", Erase("full_attention_interval")), next);
  EXPECT_EQ(*LoadHybrid("qwen3_next", Erase("model_type")), next);
  EXPECT_EQ(*LoadHybrid("minimax_text_01",
                        [](Json& json) {
                          json["model_type"] = "minimax";
                          for (const int type : json["attn_type_list"]) {
                            json["layer_types"].push_back(type == 1 ? "full_attention"
                                                                    : "linear_attention");
                          }
                          json.erase("attn_type_list");
                        }),
            *LoadHybrid("minimax_text_01"));
  EXPECT_EQ(*LoadHybrid("jamba_1_5_mini",
                        [](Json& json) {
                          for (const char* usual :
                               {"attn_layer_period", "attn_layer_offset", "expert_layer_period",
                                "expert_layer_offset", "mamba_d_conv", "mamba_d_state",
                                "mamba_expand", "mamba_dt_rank"}) {
                            json.erase(usual);
                          }
                        }),
            *LoadHybrid("jamba_1_5_mini"));
}

// granite-4.0-micro has mamba sizes, but no such layer.
TEST(HybridConfigTest, AttentionOnlyHasNoState) {
  const absl::StatusOr<ModelSpec> spec = LoadHybrid("granite_4_0_h_small", [](Json& json) {
    json["layer_types"] = std::vector<std::string>(40, "attention");
    json["num_local_experts"] = 0;
  });
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_FALSE(spec->state.present());
  EXPECT_EQ(spec->num_layers, 40u);
  EXPECT_GT(spec->flops_per_token, 0u);
}

TEST(HybridConfigTest, StateTypeOfTheConfigurationOrOfTheWorker) {
  const auto bf16 = LoadHybrid("qwen3_5_35b_a3b", Set("mamba_ssm_dtype", "bfloat16"));
  EXPECT_EQ(bf16->state.temporal_type, StateType::kBf16);
  EXPECT_EQ(
      LoadHybrid("nemotron_3_nano", Set("mamba_ssm_cache_dtype", "bfloat16"))->state.temporal_type,
      StateType::kBf16);
  EXPECT_EQ(LoadHybrid("qwen3_5_35b_a3b", Set("mamba_ssm_dtype", "bfloat16"),
                       {.state_type = StateType::kFloat32})
                ->state.temporal_type,
            StateType::kFloat32);
  EXPECT_INVALID(LoadHybrid("qwen3_5_35b_a3b", Set("mamba_ssm_dtype", "float16")),
                 "text_config.mamba_ssm_dtype 'float16' is neither float32 nor bfloat16");
  EXPECT_INVALID(LoadHybrid("nemotron_3_nano", Set("mamba_ssm_cache_dtype", 32)),
                 "mamba_ssm_cache_dtype must be a string");
}

TEST(HybridConfigTest, AConvolutionOfOneKeepsNoTail) {
  const auto spec = LoadHybrid("qwen3_next", Set("linear_conv_kernel_dim", 1));
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->state.conv_bytes(), 0u);
}

TEST(HybridConfigTest, NamesTheMissingField) {
  const auto missing = [](const char* file, const char* field) {
    EXPECT_INVALID(LoadHybrid(file, Erase(field)), absl::StrCat(field, " is missing"));
  };
  for (const char* field : {"num_hidden_layers", "num_attention_heads", "hidden_size"}) {
    missing("jamba_1_5_mini", field);
  }
  for (const char* field : {"hybrid_override_pattern", "mamba_num_heads", "ssm_state_size",
                            "n_groups", "num_attention_heads"}) {
    missing("nemotron_h_8b", field);
  }
  for (const char* field : {"layer_types", "mamba_n_heads", "mamba_n_groups", "mamba_d_state"}) {
    missing("granite_4_0_h_small", field);
  }
  for (const char* field : {"linear_num_value_heads", "linear_num_key_heads", "linear_key_head_dim",
                            "linear_value_head_dim", "num_hidden_layers"}) {
    missing("qwen3_next", field);
  }
  missing("minimax_text_01", "attn_type_list");
  for (const char* field : {"num_heads", "head_dim"}) {
    EXPECT_INVALID(
        LoadHybrid("kimi_linear", [&](Json& json) { json["linear_attn_config"].erase(field); }),
        absl::StrCat("linear_attn_config.", field, " is missing"));
  }
}

TEST(HybridConfigTest, RefusesListsOfLayersThatCannotBe) {
  EXPECT_INVALID(LoadHybrid("nemotron_h_8b", Set("hybrid_override_pattern", "M-X*")),
                 "hybrid_override_pattern has 4 layers; num_hidden_layers is 52");
  const auto pattern = [](const Json& text) {
    return LoadHybrid("nemotron_h_8b", [=](Json& json) {
      json["hybrid_override_pattern"] = text;
      json.erase("num_hidden_layers");
    });
  };
  EXPECT_INVALID(pattern("M-X*"), "hybrid_override_pattern has a letter that is none of M, *");
  EXPECT_INVALID(pattern(""), "hybrid_override_pattern has 0 layers");
  EXPECT_INVALID(pattern(std::string(1025, 'M')), "hybrid_override_pattern has 1025 layers");
  EXPECT_INVALID(pattern(7), "hybrid_override_pattern must be a string");
  EXPECT_INVALID(pattern("MMM"), "num_hidden_layers has no attention layer");
  EXPECT_INVALID(LoadHybrid("granite_4_0_h_small", Set("layer_types", {"mamba", "attention"})),
                 "layer_types has 2 layers; num_hidden_layers is 40");
  EXPECT_INVALID(LoadHybrid("granite_4_0_h_small", Set("layer_types", "mamba")),
                 "layer_types must be a list of at most 1024 strings");
  EXPECT_INVALID(LoadHybrid("granite_4_0_h_small", Set("layer_types", {1, 2})),
                 "layer_types must hold strings");
  EXPECT_INVALID(LoadHybrid("granite_4_0_h_small",
                            [](Json& json) { json["layer_types"][3] = "sliding_attention"; }),
                 "layer_types has a layer 'sliding_attention'");
  EXPECT_INVALID(LoadHybrid("minimax_text_01", [](Json& json) { json["attn_type_list"][3] = 2; }),
                 "attn_type_list must hold whole numbers from 0 to 1");
  EXPECT_INVALID(LoadHybrid("jamba_1_5_mini", Set("attn_layer_period", 0)),
                 "attn_layer_period is 0");
  EXPECT_INVALID(LoadHybrid("jamba_1_5_mini", Set("attn_layer_offset", 8)),
                 "attn_layer_offset must be a whole number from 0 to 7");
  EXPECT_INVALID(LoadHybrid("jamba_1_5_mini", Set("expert_layer_offset", 2)),
                 "expert_layer_offset must be a whole number from 0 to 1");
  EXPECT_INVALID(LoadHybrid("qwen3_next", Set("num_hidden_layers", 3)), "has no attention layer");
}

TEST(HybridConfigTest, RefusesSizesThatCannotBe) {
  EXPECT_INVALID(LoadHybrid("nemotron_h_8b", Set("mamba_num_heads", 0)), "mamba_num_heads is 0");
  EXPECT_INVALID(LoadHybrid("nemotron_h_8b", Set("ssm_state_size", -1)),
                 "ssm_state_size must be a whole number");
  EXPECT_INVALID(LoadHybrid("nemotron_h_8b", Set("n_groups", 3)), "state.num_key_heads is 3");
  EXPECT_INVALID(LoadHybrid("nemotron_h_8b", Set("conv_kernel", 99)), "conv_kernel must be");
  EXPECT_INVALID(LoadHybrid("qwen3_next", Set("linear_key_head_dim", 1 << 16)),
                 "state.conv_channels is 2101248");
  EXPECT_INVALID(LoadHybrid("jamba_1_5_mini", Set("mamba_expand", 64)),
                 "state.value_dim is 262144");
  EXPECT_INVALID(LoadHybrid("jamba_1_5_mini", Set("num_attention_heads", 33)),
                 "num_attention_heads is 33; it must divide hidden_size, 4096");
  EXPECT_INVALID(LoadHybrid("minimax_text_01", Set("num_key_value_heads", 4096)),
                 "num_key_value_heads gives rows of 2097152 bytes; at most 65536");
  EXPECT_INVALID(LoadHybrid("granite_4_0_h_small",
                            [](Json& json) {
                              json.erase("mamba_d_head");
                              json["mamba_n_heads"] = 127;
                            }),
                 "mamba_n_heads must divide mamba_expand x hidden_size");
  EXPECT_INVALID(LoadHybrid("qwen3_next", Set("mlp_only_layers", "none")),
                 "mlp_only_layers must be");
}

}  // namespace
}  // namespace cistern::base
