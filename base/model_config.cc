#include "base/model_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/json_fields.h"
#include "base/model_flops.h"
#include "base/rope_config.h"
#include "base/status_macros.h"

namespace cistern::base {
namespace {

constexpr absl::string_view kWhat = "model config";
constexpr uint64_t kMaxLatent = 1 << 14;  // elements
constexpr std::array<absl::string_view, 7> kModelTypes = {
    "deepseek_v2",   "deepseek_v3", "deepseek_v32", "kimi_k2",
    "glm4_moe_lite", "glm_moe_dsa", "kimi_linear"};
// For files without a model_type.
constexpr std::array<absl::string_view, 7> kArchitectures = {
    "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM",  "DeepseekV32ForCausalLM",
    "GlmMoeDsaForCausalLM",  "Glm4MoeLiteForCausalLM", "KimiLinearForCausalLM",
    "KimiK2ForCausalLM"};

template <typename List>
bool Contains(const List& list, absl::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool IsKnownModelType(absl::string_view type) {
  return Contains(kModelTypes, type) || absl::StartsWith(type, "joyai");
}

// params.json is told by its own words for the two sizes that every model has.
bool IsMistralParams(const JsonObject& config) {
  return config.Has("n_layers") && config.Has("dim") && !config.Has("num_hidden_layers");
}

void Rename(const Json& from, absl::string_view name, absl::string_view new_name, Json* to) {
  const auto found = from.find(std::string(name));
  if (found != from.end()) (*to)[std::string(new_name)] = *found;
}

// params.json in Hugging Face's words. Mistral's checkpoints keep k_r interleaved, as DeepSeek's.
absl::StatusOr<Json> FromMistralParams(const JsonObject& params) {
  if (!params.Has("kv_lora_rank")) {
    return params.Error("kv_lora_rank", "is missing: this params.json is not of an MLA model");
  }
  Json config = params.json();
  config["model_type"] = "deepseek_v3";
  Rename(params.json(), "dim", "hidden_size", &config);
  Rename(params.json(), "n_layers", "num_hidden_layers", &config);
  Rename(params.json(), "n_heads", "num_attention_heads", &config);
  Rename(params.json(), "hidden_dim", "intermediate_size", &config);
  if (params.IsObject("moe")) {
    const Json& moe = params.json()["moe"];
    Rename(moe, "num_experts", "n_routed_experts", &config);
    Rename(moe, "num_experts_per_tok", "num_experts_per_tok", &config);
    Rename(moe, "num_shared_experts", "n_shared_experts", &config);
    Rename(moe, "expert_hidden_dim", "moe_intermediate_size", &config);
    Rename(moe, "first_k_dense_replace", "first_k_dense_replace", &config);
  }
  if (!params.Has("yarn")) return config;
  CISTERN_ASSIGN_OR_RETURN(const JsonObject yarn, params.Object("yarn"));
  CISTERN_ASSIGN_OR_RETURN(const Json scaling, RopeScalingFromMistral(yarn));
  config["rope_scaling"] = scaling;
  return config;
}

// InvalidArgument unless the configuration is of an architecture whose rows we know.
absl::Status CheckArchitecture(const JsonObject& config) {
  const std::string advice =
      absl::StrCat("; known are ", absl::StrJoin(kModelTypes, ", "),
                   " and joyai*. For another MLA model write its model spec by hand");
  if (config.Has("model_type")) {
    CISTERN_ASSIGN_OR_RETURN(const std::string type, config.String("model_type"));
    if (IsKnownModelType(type)) return absl::OkStatus();
    return config.Error("model_type", absl::StrCat("'", type, "' is not known", advice));
  }
  const auto found = config.json().find("architectures");
  if (found == config.json().end() || !found->is_array() || found->empty() ||
      !found->front().is_string()) {
    return config.Error("model_type", absl::StrCat("is missing", advice));
  }
  const std::string architecture = found->front().get<std::string>();
  if (Contains(kArchitectures, architecture)) return absl::OkStatus();
  return config.Error("architectures", absl::StrCat("'", architecture, "' is not known", advice));
}

// The layers that keep rows: all, or the full-attention ones of a hybrid.
absl::StatusOr<uint32_t> MlaLayers(const JsonObject& config) {
  CISTERN_ASSIGN_OR_RETURN(const uint64_t layers,
                           config.Uint("num_hidden_layers", ModelSpec::kMaxLayers));
  if (layers == 0) return config.Error("num_hidden_layers", "is 0");
  const bool hybrid = config.Has("linear_attn_config");
  CISTERN_ASSIGN_OR_RETURN(const std::string type, config.Has("model_type")
                                                       ? config.String("model_type")
                                                       : absl::StatusOr<std::string>(""));
  if (!hybrid && type != "kimi_linear") return static_cast<uint32_t>(layers);
  CISTERN_ASSIGN_OR_RETURN(const JsonObject linear, config.Object("linear_attn_config"));
  CISTERN_ASSIGN_OR_RETURN(const std::vector<uint32_t> full,
                           linear.UintsOr("full_attn_layers", layers, layers));
  if (full.empty()) {
    return linear.Error("full_attn_layers", "is missing or empty: it lists the MLA layers");
  }
  if (std::set<uint32_t>(full.begin(), full.end()).size() != full.size()) {
    return linear.Error("full_attn_layers", "names a layer twice");
  }
  return static_cast<uint32_t>(full.size());
}

// Fills layout and row_bytes from the sizes of latent and rotary key.
absl::Status SetLayout(const JsonObject& config, RowLayout layout, ModelSpec* spec) {
  CISTERN_ASSIGN_OR_RETURN(const uint64_t latent, config.Uint("kv_lora_rank", kMaxLatent));
  CISTERN_ASSIGN_OR_RETURN(const uint64_t rope, config.Uint("qk_rope_head_dim", kMaxLatent));
  spec->layout = layout;
  if (layout == RowLayout::kOpaque) {
    spec->row_bytes = static_cast<uint32_t>(2 * (latent + rope));
    if (spec->row_bytes == 0) return config.Error("kv_lora_rank", "is 0");
    return absl::OkStatus();
  }
  spec->row_bytes = RowBytes(layout);
  const std::string advice =
      absl::StrCat("; layout ", ToString(layout), " has 512 + 64 elements. Load it with layout ",
                   "opaque (exact reuse only)");
  if (latent != 512) return config.Error("kv_lora_rank", absl::StrCat("is ", latent, advice));
  if (rope != 64) return config.Error("qk_rope_head_dim", absl::StrCat("is ", rope, advice));
  return absl::OkStatus();
}

absl::StatusOr<ModelSpec> SpecFromConfig(const JsonObject& config, absl::string_view name,
                                         absl::string_view revision,
                                         const ModelConfigOptions& options) {
  CISTERN_RETURN_IF_ERROR(CheckArchitecture(config));
  ModelSpec spec;
  spec.name = std::string(name);
  spec.revision = std::string(revision);
  CISTERN_ASSIGN_OR_RETURN(spec.num_layers, MlaLayers(config));
  CISTERN_RETURN_IF_ERROR(SetLayout(config, options.layout, &spec));
  if (options.layout == RowLayout::kOpaque) {
    spec.rotary.style = RotaryStyle::kNone;  // nobody turns an opaque row
  } else {
    CISTERN_ASSIGN_OR_RETURN(spec.rotary, RotaryFromConfig(config));
  }
  const ModelFlops flops = EstimateFlops(config, spec.num_layers);
  spec.flops_per_token = flops.per_token;
  spec.flops_per_token_pair = flops.per_token_pair;
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  return spec;
}

}  // namespace

absl::StatusOr<ModelSpec> ModelSpecFromHfConfig(absl::string_view config_json,
                                                absl::string_view name, absl::string_view revision,
                                                const ModelConfigOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(config_json, kWhat));
  const JsonObject root(&json, absl::StrCat(kWhat, ": "));
  if (IsMistralParams(root)) {
    CISTERN_ASSIGN_OR_RETURN(const Json config, FromMistralParams(root));
    return SpecFromConfig(JsonObject(&config, absl::StrCat(kWhat, ": ")), name, revision, options);
  }
  // A model that also sees or hears nests the language model.
  if (root.Has("text_config")) {
    CISTERN_ASSIGN_OR_RETURN(const JsonObject text, root.Object("text_config"));
    return SpecFromConfig(text, name, revision, options);
  }
  return SpecFromConfig(root, name, revision, options);
}

}  // namespace cistern::base
