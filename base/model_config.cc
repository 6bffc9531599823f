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

#include "base/hybrid_config.h"
#include "base/hybrid_flops.h"
#include "base/json_fields.h"
#include "base/model_flops.h"
#include "base/rope_config.h"
#include "base/status_macros.h"

namespace cistern::base {
namespace {

constexpr absl::string_view kWhat = "model config";
constexpr uint64_t kMaxLatent = 1 << 14;  // elements
constexpr std::array<absl::string_view, 7> kMlaModelTypes = {
    "deepseek_v2",   "deepseek_v3", "deepseek_v32", "kimi_k2",
    "glm4_moe_lite", "glm_moe_dsa", "kimi_linear"};
// For files without a model_type.
struct Architecture {
  absl::string_view name, model_type;
};
constexpr std::array<Architecture, 16> kArchitectures = {{
    {"DeepseekV2ForCausalLM", "deepseek_v2"},
    {"DeepseekV3ForCausalLM", "deepseek_v3"},
    {"DeepseekV32ForCausalLM", "deepseek_v32"},
    {"GlmMoeDsaForCausalLM", "glm_moe_dsa"},
    {"Glm4MoeLiteForCausalLM", "glm4_moe_lite"},
    {"KimiLinearForCausalLM", "kimi_linear"},
    {"KimiK2ForCausalLM", "kimi_k2"},
    {"JambaForCausalLM", "jamba"},
    {"NemotronHForCausalLM", "nemotron_h"},
    {"GraniteMoeHybridForCausalLM", "granitemoehybrid"},
    {"Qwen3NextForCausalLM", "qwen3_next"},
    {"Qwen3_5ForCausalLM", "qwen3_5_text"},
    {"Qwen3_5MoeForCausalLM", "qwen3_5_moe_text"},
    {"MiniMaxForCausalLM", "minimax"},
    {"MiniMaxText01ForCausalLM", "minimax_text_01"},
    {"MiniMaxM1ForCausalLM", "minimax_m1"},
}};

template <typename List>
bool Contains(const List& list, absl::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool IsKnownModelType(absl::string_view type) {
  return Contains(kMlaModelTypes, type) || Contains(HybridModelTypes(), type) ||
         absl::StartsWith(type, "joyai");
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

// The model type, also of a file that names its architecture only. InvalidArgument unless we know
// what it leaves.
absl::StatusOr<std::string> ModelType(const JsonObject& config) {
  const std::string advice = absl::StrCat("; known are ", absl::StrJoin(kMlaModelTypes, ", "),
                                          ", joyai*, ", absl::StrJoin(HybridModelTypes(), ", "),
                                          ". For another model write its model spec by hand");
  if (config.Has("model_type")) {
    CISTERN_ASSIGN_OR_RETURN(std::string type, config.String("model_type"));
    if (IsKnownModelType(type)) return type;
    return config.Error("model_type", absl::StrCat("'", type, "' is not known", advice));
  }
  const auto found = config.json().find("architectures");
  if (found == config.json().end() || !found->is_array() || found->empty() ||
      !found->front().is_string()) {
    return config.Error("model_type", absl::StrCat("is missing", advice));
  }
  const std::string name = found->front().get<std::string>();
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return std::string(architecture.model_type);
  }
  return config.Error("architectures", absl::StrCat("'", name, "' is not known", advice));
}

// num_layers: those that keep rows, which are all, or the full-attention ones of a hybrid; and the
// state of the others.
absl::Status SetMlaLayers(const JsonObject& config, absl::string_view model_type,
                          const ModelConfigOptions& options, ModelSpec* spec) {
  CISTERN_ASSIGN_OR_RETURN(const uint64_t layers,
                           config.Uint("num_hidden_layers", ModelSpec::kMaxLayers));
  if (layers == 0) return config.Error("num_hidden_layers", "is 0");
  spec->num_layers = static_cast<uint32_t>(layers);
  if (!config.Has("linear_attn_config") && model_type != "kimi_linear") return absl::OkStatus();
  CISTERN_ASSIGN_OR_RETURN(const JsonObject linear, config.Object("linear_attn_config"));
  CISTERN_ASSIGN_OR_RETURN(const std::vector<uint32_t> full,
                           linear.UintsOr("full_attn_layers", layers, layers));
  if (full.empty()) {
    return linear.Error("full_attn_layers", "is missing or empty: it lists the MLA layers");
  }
  if (std::set<uint32_t>(full.begin(), full.end()).size() != full.size()) {
    return linear.Error("full_attn_layers", "names a layer twice");
  }
  CISTERN_ASSIGN_OR_RETURN(const std::vector<uint32_t> kda,
                           linear.UintsOr("kda_layers", layers, layers));
  std::set<uint32_t> all(full.begin(), full.end());
  all.insert(kda.begin(), kda.end());
  if (linear.Has("kda_layers") && (all.size() != layers || full.size() + kda.size() != layers)) {
    return linear.Error("kda_layers", "and full_attn_layers do not name each layer once");
  }
  spec->num_layers = static_cast<uint32_t>(full.size());
  CISTERN_ASSIGN_OR_RETURN(
      spec->state, KdaFromConfig(config, linear, static_cast<uint32_t>(layers - full.size()),
                                 options.state_type));
  return absl::OkStatus();
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

// Latent rows, and KDA layers beside them or none.
absl::Status FillMla(const JsonObject& config, absl::string_view model_type,
                     const ModelConfigOptions& options, ModelSpec* spec) {
  CISTERN_RETURN_IF_ERROR(SetMlaLayers(config, model_type, options, spec));
  CISTERN_RETURN_IF_ERROR(SetLayout(config, options.layout, spec));
  if (options.layout == RowLayout::kOpaque) {
    spec->rotary.style = RotaryStyle::kNone;  // nobody turns an opaque row
  } else {
    CISTERN_ASSIGN_OR_RETURN(spec->rotary, RotaryFromConfig(config));
  }
  const ModelFlops flops = EstimateFlops(config, spec->num_layers, spec->state);
  spec->flops_per_token = flops.per_token;
  spec->flops_per_token_pair = flops.per_token_pair;
  return absl::OkStatus();
}

// Rows of K and V, and state.
absl::Status FillHybrid(const JsonObject& config, absl::string_view model_type,
                        const ModelConfigOptions& options, ModelSpec* spec) {
  CISTERN_ASSIGN_OR_RETURN(const HybridShape shape,
                           HybridFromConfig(config, model_type, options.state_type));
  spec->num_layers = shape.attention_layers;
  spec->layout = RowLayout::kOpaque;
  spec->row_bytes = static_cast<uint32_t>(shape.row_bytes());
  spec->rotary.style = RotaryStyle::kNone;
  spec->state = shape.state;
  const ModelFlops flops = EstimateHybridFlops(config, model_type, shape);
  spec->flops_per_token = flops.per_token;
  spec->flops_per_token_pair = flops.per_token_pair;
  return absl::OkStatus();
}

absl::StatusOr<ModelSpec> SpecFromConfig(const JsonObject& config, absl::string_view name,
                                         absl::string_view revision,
                                         const ModelConfigOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(const std::string model_type, ModelType(config));
  ModelSpec spec;
  spec.name = std::string(name);
  spec.revision = std::string(revision);
  const bool mla = !Contains(HybridModelTypes(), model_type);
  CISTERN_RETURN_IF_ERROR(mla ? FillMla(config, model_type, options, &spec)
                              : FillHybrid(config, model_type, options, &spec));
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
