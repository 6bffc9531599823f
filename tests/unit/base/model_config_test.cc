// Published configurations give the rows that engines keep (bytes per token from the models' own
// dimensions), and what is not supported is refused with the field's name.
#include "base/model_config.h"

#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"
#include <nlohmann/json.hpp>

namespace cistern::base {
namespace {

using Json = nlohmann::json;

std::string Config(const std::string& file) {
  std::ifstream stream(absl::StrCat(CISTERN_TEST_CONFIGS, "/", file, ".json"));
  EXPECT_TRUE(stream.good()) << file;
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

absl::StatusOr<ModelSpec> Load(const std::string& text, RowLayout layout = RowLayout::kBf16_576) {
  return ModelSpecFromHfConfig(text, "some/model", "r1", {.layout = layout});
}

// `file` with one change, read.
absl::StatusOr<ModelSpec> LoadChanged(const std::string& file,
                                      const std::function<void(Json&)>& change,
                                      RowLayout layout = RowLayout::kBf16_576) {
  Json json = Json::parse(Config(file));
  change(json);
  return Load(json.dump(), layout);
}

struct Published {
  const char* file;
  uint32_t num_layers;
  uint64_t bf16_bytes;  // per token
  uint64_t fp8_bytes;
  RotaryStyle style;
  double theta;
  double factor;           // 0: no scaling
  double active_billions;  // parameters that a token meets, without embeddings; as published
};

constexpr Published kPublished[] = {
    {"deepseek_v2_lite", 27, 31104, 17712, RotaryStyle::kInterleaved, 1e4, 40, 2.25},
    {"deepseek_v2", 60, 69120, 39360, RotaryStyle::kInterleaved, 1e4, 40, 20.5},
    {"deepseek_v3", 61, 70272, 40016, RotaryStyle::kInterleaved, 1e4, 40, 36.5},
    {"deepseek_v32", 61, 70272, 40016, RotaryStyle::kInterleaved, 1e4, 40, 36.5},
    {"kimi_k2", 61, 70272, 40016, RotaryStyle::kInterleaved, 5e4, 32, 31},
    {"kimi_k25", 61, 70272, 40016, RotaryStyle::kInterleaved, 5e4, 64, 31},
    {"moonlight", 27, 31104, 17712, RotaryStyle::kInterleaved, 5e4, 0, 2.24},
    {"glm_4_7_flash", 47, 54144, 30832, RotaryStyle::kInterleaved, 1e6, 0, 3.1},
    {"glm_5", 78, 89856, 51168, RotaryStyle::kInterleaved, 1e6, 0, 39},
    {"mistral_large_3_params", 61, 70272, 40016, RotaryStyle::kInterleaved, 1e4, 36, 38.5},
    {"mistral_large_3_hf", 61, 70272, 40016, RotaryStyle::kInterleaved, 1e4, 36, 38.5},
    {"joyai_llm_flash", 40, 46080, 26240, RotaryStyle::kInterleaved, 3.2e7, 0, 2.7},
    {"kimi_linear", 7, 8064, 4592, RotaryStyle::kNone, 1e4, 0, 2.7},
};

TEST(ModelConfigTest, PublishedConfigurations) {
  for (const Published& model : kPublished) {
    SCOPED_TRACE(model.file);
    const absl::StatusOr<ModelSpec> spec = Load(Config(model.file));
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->name, "some/model");
    EXPECT_EQ(spec->revision, "r1");
    EXPECT_EQ(spec->num_layers, model.num_layers);
    EXPECT_EQ(spec->token_bytes(), model.bf16_bytes);
    EXPECT_EQ(spec->rotary.style, model.style);
    EXPECT_EQ(spec->rotary.theta, model.theta);
    EXPECT_EQ(spec->rotary.scaling,
              model.factor == 0 ? RotaryScaling::kNone : RotaryScaling::kYarn);
    if (model.factor != 0) {
      EXPECT_EQ(spec->rotary.factor, model.factor);
    }
    EXPECT_EQ(spec->rotary.TableScale(), 1.0);
    EXPECT_TRUE(spec->boundary_tokens.empty());

    const absl::StatusOr<ModelSpec> fp8 = Load(Config(model.file), RowLayout::kFp8DsMla656);
    ASSERT_TRUE(fp8.ok()) << fp8.status();
    EXPECT_EQ(fp8->token_bytes(), model.fp8_bytes);
    EXPECT_NE(fp8->Fingerprint(), spec->Fingerprint());
  }
}

// Two FLOPs for each weight that a token meets: within 8 % of the published number of active
// parameters.
TEST(ModelConfigTest, FlopsPerTokenFollowTheActiveParameters) {
  for (const Published& model : kPublished) {
    const absl::StatusOr<ModelSpec> spec = Load(Config(model.file));
    ASSERT_TRUE(spec.ok()) << spec.status();
    const double billions = static_cast<double>(spec->flops_per_token) / 2e9;
    EXPECT_NEAR(billions, model.active_billions, 0.08 * model.active_billions) << model.file;
  }
}

// 61 layers x 128 heads x 2 x (128 + 64 for the score, 128 for the value).
TEST(ModelConfigTest, FlopsPerPairOfDeepSeekV3) {
  EXPECT_EQ(Load(Config("deepseek_v3"))->flops_per_token_pair, 61u * 128 * 2 * (192 + 128));
  EXPECT_EQ(Load(Config("kimi_linear"))->flops_per_token_pair, 7u * 32 * 2 * (192 + 128));
}

TEST(ModelConfigTest, FlopsAreUnknownWhereTheConfigurationDoesNotSay) {
  for (const char* field : {"hidden_size", "num_attention_heads", "intermediate_size",
                            "moe_intermediate_size", "qk_nope_head_dim", "v_head_dim"}) {
    for (const Json& value : {Json(), Json("large"), Json(-1), Json(1ull << 40)}) {
      const absl::StatusOr<ModelSpec> spec =
          LoadChanged("deepseek_v3", [&](Json& json) { json[field] = value; });
      ASSERT_TRUE(spec.ok()) << spec.status();
      EXPECT_EQ(spec->flops_per_token, 0u) << field << " = " << value;
      EXPECT_EQ(spec->flops_per_token_pair, 0u) << field << " = " << value;
    }
  }
}

TEST(ModelConfigTest, YarnParameters) {
  const RotarySpec v3 = Load(Config("deepseek_v3"))->rotary;
  EXPECT_EQ(v3.original_max_position, 4096);
  EXPECT_EQ(v3.beta_fast, 32);
  EXPECT_EQ(v3.beta_slow, 1);
  EXPECT_EQ(v3.mscale, 1.0);
  EXPECT_EQ(v3.mscale_all_dim, 1.0);
  EXPECT_EQ(Load(Config("deepseek_v2_lite"))->rotary.mscale, 0.707);
  EXPECT_EQ(Load(Config("kimi_k2"))->rotary.beta_fast, 1);
  EXPECT_EQ(Load(Config("kimi_k25"))->rotary.beta_fast, 32);
  EXPECT_EQ(Load(Config("mistral_large_3_params"))->rotary.original_max_position, 8192);
}

// The same weights through either file are the same model: a worker of each kind shares keys.
TEST(ModelConfigTest, BothFormsOfMistralLarge3AreOneModel) {
  const absl::StatusOr<ModelSpec> params = Load(Config("mistral_large_3_params"));
  const absl::StatusOr<ModelSpec> hf = Load(Config("mistral_large_3_hf"));
  ASSERT_TRUE(params.ok() && hf.ok());
  EXPECT_EQ(*params, *hf);
}

TEST(ModelConfigTest, OldAndNewSpellingOfTheRopeBlockAgree) {
  const absl::StatusOr<ModelSpec> older = Load(Config("deepseek_v3"));
  const auto newer = LoadChanged("deepseek_v3", [](Json& json) {
    json["rope_parameters"] = json["rope_scaling"];
    json["rope_parameters"]["rope_theta"] = json["rope_theta"];
    json["rope_parameters"]["rope_type"] = "yarn";
    json["rope_parameters"].erase("type");
    json.erase("rope_scaling");
    json.erase("rope_theta");
  });
  const auto both = LoadChanged("deepseek_v3",
                                [](Json& json) { json["rope_parameters"] = json["rope_scaling"]; });
  const auto in_scaling = LoadChanged("moonlight", [](Json& json) {
    json["rope_scaling"] = {{"rope_type", "default"}, {"rope_theta", 50000}};
    json.erase("rope_theta");
  });
  ASSERT_TRUE(newer.ok()) << newer.status();
  ASSERT_TRUE(both.ok()) << both.status();
  ASSERT_TRUE(in_scaling.ok()) << in_scaling.status();
  EXPECT_EQ(*newer, *older);
  EXPECT_EQ(*both, *older);
  EXPECT_EQ(*in_scaling, *Load(Config("moonlight")));
}

TEST(ModelConfigTest, RopeStyleLinearScalingAndTableScale) {
  const auto half = LoadChanged("glm_5", [](Json& json) { json["rope_interleave"] = false; });
  EXPECT_EQ(half->rotary.style, RotaryStyle::kHalf);
  const auto linear = LoadChanged("moonlight", [](Json& json) {
    json["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  });
  EXPECT_EQ(linear->rotary.scaling, RotaryScaling::kLinear);
  EXPECT_EQ(linear->rotary.factor, 4);
  // What DeepSeek's code takes when the block does not say: mscale 1 over mscale_all_dim 0.
  const auto no_mscale = LoadChanged("deepseek_v3", [](Json& json) {
    json["rope_scaling"].erase("mscale");
    json["rope_scaling"].erase("mscale_all_dim");
  });
  EXPECT_NEAR(no_mscale->rotary.TableScale(), 1.3688879454113936, 1e-15);
  const auto attention = LoadChanged(
      "deepseek_v3", [](Json& json) { json["rope_scaling"]["attention_factor"] = 1.25; });
  EXPECT_EQ(attention->rotary.TableScale(), 1.25);
  const auto attn =
      LoadChanged("deepseek_v3", [](Json& json) { json["rope_scaling"]["attn_factor"] = 1.5; });
  EXPECT_EQ(attn->rotary.TableScale(), 1.5);
}

TEST(ModelConfigTest, ArchitectureStandsInForAMissingModelType) {
  const auto spec = LoadChanged("deepseek_v32", [](Json& json) { json.erase("model_type"); });
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(*spec, *Load(Config("deepseek_v32")));
}

TEST(ModelConfigTest, RefusesWhatIsNoConfiguration) {
  EXPECT_INVALID(Load(""), "model config: not JSON");
  EXPECT_INVALID(Load("model_type: deepseek_v3"), "not JSON");
  EXPECT_INVALID(Load(Config("deepseek_v3").substr(0, 200)), "not JSON");
  EXPECT_INVALID(Load("[]"), "a JSON array; it must be an object");
  EXPECT_INVALID(Load("\"deepseek\""), "a JSON string; it must be an object");
  EXPECT_INVALID(Load("{}"), "model_type is missing; known are deepseek_v2");
}

TEST(ModelConfigTest, RefusesUnknownArchitectures) {
  EXPECT_INVALID(LoadChanged("deepseek_v3", [](Json& json) { json["model_type"] = "llama"; }),
                 "model_type 'llama' is not known; known are deepseek_v2");
  EXPECT_INVALID(LoadChanged("deepseek_v3", [](Json& json) { json["model_type"] = 3; }),
                 "model_type must be a string");
  const auto by_architecture = [](const Json& architectures) {
    return LoadChanged("deepseek_v3", [&](Json& json) {
      json.erase("model_type");
      json["architectures"] = architectures;
    });
  };
  EXPECT_INVALID(by_architecture({"LlamaForCausalLM"}), "architectures 'LlamaForCausalLM'");
  EXPECT_INVALID(by_architecture(Json::array()), "model_type is missing");
  EXPECT_INVALID(by_architecture(Json::array({1})), "model_type is missing");
  EXPECT_INVALID(
      LoadChanged("kimi_k25", [](Json& json) { json["text_config"]["model_type"] = "llama"; }),
      "text_config.model_type 'llama'");
  EXPECT_INVALID(LoadChanged("kimi_k25", [](Json& json) { json["text_config"] = "kimi_k2"; }),
                 "text_config must be an object");
}

TEST(ModelConfigTest, NamesTheMissingField) {
  for (const char* field :
       {"num_hidden_layers", "kv_lora_rank", "qk_rope_head_dim", "rope_theta"}) {
    EXPECT_INVALID(LoadChanged("deepseek_v3", [&](Json& json) { json.erase(field); }),
                   absl::StrCat("model config: ", field, " is missing"));
  }
  for (const char* field : {"factor", "original_max_position_embeddings"}) {
    EXPECT_INVALID(
        LoadChanged("deepseek_v3", [&](Json& json) { json["rope_scaling"].erase(field); }),
        absl::StrCat("model config: rope_scaling.", field, " is missing"));
  }
  EXPECT_INVALID(
      LoadChanged("glm_5", [](Json& json) { json["rope_parameters"].erase("rope_theta"); }),
      "rope_theta is missing");
  EXPECT_INVALID(LoadChanged("kimi_linear", [](Json& json) { json.erase("linear_attn_config"); }),
                 "linear_attn_config is missing");
  EXPECT_INVALID(
      LoadChanged("mistral_large_3_params", [](Json& json) { json.erase("kv_lora_rank"); }),
      "not of an MLA model");
  for (const char* field : {"factor", "original_max_position_embeddings", "beta", "alpha"}) {
    EXPECT_INVALID(
        LoadChanged("mistral_large_3_params", [&](Json& json) { json["yarn"].erase(field); }),
        absl::StrCat("yarn.", field, " is missing"));
  }
}

TEST(ModelConfigTest, RefusesLayerCountsThatCannotBe) {
  for (const Json& layers : {Json(0), Json(-1), Json(1025), Json(1ull << 40), Json(27.5)}) {
    EXPECT_INVALID(
        LoadChanged("deepseek_v3", [&](Json& json) { json["num_hidden_layers"] = layers; }),
        "num_hidden_layers");
  }
}

TEST(ModelConfigTest, RefusesAnIncredibleListOfLayers) {
  const auto with_layers = [](const Json& layers) {
    return LoadChanged("kimi_linear", [&](Json& json) {
      json["linear_attn_config"]["full_attn_layers"] = layers;
    });
  };
  EXPECT_INVALID(with_layers(nullptr), "full_attn_layers is missing or empty");
  EXPECT_INVALID(with_layers(Json::array()), "full_attn_layers is missing or empty");
  EXPECT_INVALID(with_layers({4, 8, 8}), "full_attn_layers names a layer twice");
  EXPECT_INVALID(with_layers({4, 28}), "full_attn_layers must hold");
  EXPECT_INVALID(with_layers(Json(std::vector<int>(28, 1))), "full_attn_layers must be a list");
  EXPECT_INVALID(with_layers("all"), "full_attn_layers must be a list");
  EXPECT_INVALID(with_layers({4, 8}),
                 "kda_layers and full_attn_layers do not name each layer once");
  EXPECT_INVALID(with_layers({1, 2, 3, 4, 8, 12, 27}), "kda_layers and full_attn_layers");
}

// MiniCPM3's latent; a rope part of 32.
TEST(ModelConfigTest, RefusesRowsThatNoLayoutHas) {
  const auto small_latent = [](Json& json) { json["kv_lora_rank"] = 256; };
  const auto small_rope = [](Json& json) { json["qk_rope_head_dim"] = 32; };
  EXPECT_INVALID(LoadChanged("deepseek_v3", small_latent),
                 "kv_lora_rank is 256; layout bf16_576 has 512 + 64 elements. Load it with layout");
  EXPECT_INVALID(LoadChanged("deepseek_v3", small_rope, RowLayout::kFp8DsMla656),
                 "qk_rope_head_dim is 32; layout fp8_ds_mla_656");
  const auto opaque = LoadChanged("deepseek_v3", small_latent, RowLayout::kOpaque);
  ASSERT_TRUE(opaque.ok()) << opaque.status();
  EXPECT_EQ(opaque->row_bytes, 2u * (256 + 64));
  EXPECT_FALSE(opaque->movable());
  EXPECT_INVALID(LoadChanged(
                     "deepseek_v3",
                     [](Json& json) {
                       json["kv_lora_rank"] = 0;
                       json["qk_rope_head_dim"] = 0;
                     },
                     RowLayout::kOpaque),
                 "kv_lora_rank is 0");
}

TEST(ModelConfigTest, RefusesScalingThatTurnsByNoSingleTable) {
  for (const char* type : {"dynamic", "longrope", "su", "llama3", "ntk", ""}) {
    for (const char* key : {"type", "rope_type"}) {
      const auto change = [&](Json& json) { json["rope_scaling"] = {{key, type}, {"factor", 4}}; };
      EXPECT_INVALID(LoadChanged("moonlight", change),
                     absl::StrCat("rope_scaling.", key, " '", type, "' is not supported"));
      EXPECT_INVALID(LoadChanged("moonlight", change), "layout opaque");
      EXPECT_TRUE(LoadChanged("moonlight", change, RowLayout::kOpaque).ok());
    }
  }
  EXPECT_INVALID(LoadChanged("moonlight",
                             [](Json& json) {
                               json["rope_scaling"] = {{"factor", 4}};
                             }),
                 "rope_scaling.rope_type is missing beside a factor");
  EXPECT_INVALID(LoadChanged("moonlight", [](Json& json) { json["rope_scaling"] = "yarn"; }),
                 "rope_scaling must be an object");
}

TEST(ModelConfigTest, RefusesVariationsThatTheSpecCannotSay) {
  const auto block = [](const char* field, const Json& value) {
    return LoadChanged("deepseek_v3", [&](Json& json) { json["rope_scaling"][field] = value; });
  };
  EXPECT_INVALID(block("partial_rotary_factor", 0.5), "partial_rotary_factor is 0.5; only 1");
  EXPECT_INVALID(block("truncate", false), "truncate is false; only true");
  EXPECT_INVALID(block("truncate", 1), "truncate must be true or false");
  EXPECT_INVALID(block("extrapolation_factor", 2), "extrapolation_factor is 2; only 1");
  EXPECT_INVALID(
      LoadChanged("glm_4_7_flash", [](Json& json) { json["partial_rotary_factor"] = 0.5; }),
      "partial_rotary_factor is 0.5; only 1");
  EXPECT_INVALID(LoadChanged("deepseek_v3",
                             [](Json& json) {
                               json["rope_parameters"] = json["rope_scaling"];
                               json["rope_parameters"]["factor"] = 4;
                             }),
                 "rope_parameters and rope_scaling say different things");
  for (const bool present : {true, false}) {
    EXPECT_INVALID(LoadChanged("mistral_large_3_params",
                               [&](Json& json) {
                                 json["yarn"].erase("apply_scale");
                                 if (present) json["yarn"]["apply_scale"] = true;
                               }),
                   "yarn.apply_scale is true or missing");
  }
}

TEST(ModelConfigTest, RefusesValuesOutsideOfTheirRange) {
  const auto block = [](const char* field, const Json& value) {
    return LoadChanged("deepseek_v3", [&](Json& json) { json["rope_scaling"][field] = value; });
  };
  EXPECT_INVALID(block("factor", 0), "rotary.factor is 0");
  EXPECT_INVALID(block("factor", "40"), "rope_scaling.factor must be a number");
  EXPECT_INVALID(block("beta_fast", -1), "rotary.beta_fast is -1");
  EXPECT_INVALID(block("original_max_position_embeddings", 0), "rotary.original_max_position is 0");
  EXPECT_INVALID(LoadChanged("deepseek_v3", [](Json& json) { json["rope_theta"] = 1; }),
                 "rotary.theta is 1");
}

TEST(ModelConfigTest, RefusesABadName) {
  EXPECT_INVALID(ModelSpecFromHfConfig(Config("deepseek_v3"), "", "r"), "name is empty");
  EXPECT_INVALID(ModelSpecFromHfConfig(Config("deepseek_v3"), "a", "\xff"), "revision must be");
}

}  // namespace
}  // namespace cistern::base
