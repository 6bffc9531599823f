#include "base/hybrid_config.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/model_spec.h"
#include "base/status_macros.h"

namespace cistern::base {
namespace {

constexpr uint32_t kMaxLayers = ModelSpec::kMaxLayers;
constexpr uint32_t kMaxHidden = 1u << 18;

constexpr std::array<absl::string_view, 11> kModelTypes = {
    "jamba",   "nemotron_h",      "granitemoehybrid", "qwen3_next",
    "qwen3_5", "qwen3_5_text",    "qwen3_5_moe",      "qwen3_5_moe_text",
    "minimax", "minimax_text_01", "minimax_m1"};

enum class LayerKind : uint8_t { kAttention, kState, kDense, kExperts };

absl::StatusOr<uint32_t> Positive(const JsonObject& config, absl::string_view name, uint32_t max) {
  CISTERN_ASSIGN_OR_RETURN(const uint64_t value, config.Uint(name, max));
  if (value == 0) return config.Error(name, "is 0");
  return static_cast<uint32_t>(value);
}

absl::StatusOr<uint32_t> PositiveOr(const JsonObject& config, absl::string_view name, uint32_t max,
                                    uint32_t otherwise) {
  if (!config.Has(name)) return otherwise;
  return Positive(config, name, max);
}

// The first of two names that the configuration has; `name` when it has neither.
absl::string_view EitherName(const JsonObject& config, absl::string_view name,
                             absl::string_view other) {
  return !config.Has(name) && config.Has(other) ? other : name;
}

// num_hidden_layers, which must be `listed` where the configuration lists its layers.
absl::Status CheckListed(const JsonObject& config, absl::string_view field, size_t listed) {
  CISTERN_ASSIGN_OR_RETURN(const uint64_t layers,
                           config.UintOr("num_hidden_layers", kMaxLayers, listed));
  if (layers == listed && listed != 0) return absl::OkStatus();
  return config.Error(field,
                      absl::StrCat("has ", listed, " layers; num_hidden_layers is ", layers));
}

absl::StatusOr<LayerKind> KindOfName(const JsonObject& config, absl::string_view field,
                                     absl::string_view name) {
  if (name == "full_attention" || name == "attention") return LayerKind::kAttention;
  if (name == "linear_attention" || name == "mamba") return LayerKind::kState;
  if (name == "mlp") return LayerKind::kDense;
  if (name == "moe") return LayerKind::kExperts;
  return config.Error(field, absl::StrCat("has a layer '", name,
                                          "'; known are full_attention, attention, "
                                          "linear_attention, mamba, mlp and moe"));
}

absl::StatusOr<std::vector<LayerKind>> KindsOfNames(const JsonObject& config,
                                                    absl::string_view field) {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                           config.StringsOr(field, kMaxLayers));
  CISTERN_RETURN_IF_ERROR(CheckListed(config, field, names.size()));
  std::vector<LayerKind> kinds;
  kinds.reserve(names.size());
  for (const std::string& name : names) {
    CISTERN_ASSIGN_OR_RETURN(const LayerKind kind, KindOfName(config, field, name));
    kinds.push_back(kind);
  }
  return kinds;
}

// Nemotron-H: M Mamba-2, * attention, - feed-forward, E experts.
absl::StatusOr<std::vector<LayerKind>> KindsOfPattern(const JsonObject& config,
                                                      absl::string_view field) {
  CISTERN_ASSIGN_OR_RETURN(const std::string pattern, config.String(field));
  if (pattern.size() > kMaxLayers) {
    return config.Error(field,
                        absl::StrCat("has ", pattern.size(), " layers; at most ", kMaxLayers));
  }
  CISTERN_RETURN_IF_ERROR(CheckListed(config, field, pattern.size()));
  constexpr absl::string_view kLetters = "*M-E";  // in the order of LayerKind
  std::vector<LayerKind> kinds;
  kinds.reserve(pattern.size());
  for (const char letter : pattern) {
    const size_t kind = kLetters.find(letter);
    if (kind == absl::string_view::npos) {
      return config.Error(field, "has a letter that is none of M, *, - and E");
    }
    kinds.push_back(static_cast<LayerKind>(kind));
  }
  return kinds;
}

// MiniMax: 1 is attention, 0 is lightning.
absl::StatusOr<std::vector<LayerKind>> KindsOfNumbers(const JsonObject& config,
                                                      absl::string_view field) {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<uint32_t> numbers,
                           config.UintsOr(field, kMaxLayers, 1));
  CISTERN_RETURN_IF_ERROR(CheckListed(config, field, numbers.size()));
  std::vector<LayerKind> kinds;
  kinds.reserve(numbers.size());
  for (const uint32_t number : numbers) {
    kinds.push_back(number == 1 ? LayerKind::kAttention : LayerKind::kState);
  }
  return kinds;
}

// Layers `offset`, `offset + period`, ... of num_hidden_layers are attention.
absl::StatusOr<std::vector<LayerKind>> KindsOfPeriod(const JsonObject& config, uint32_t period,
                                                     uint32_t offset) {
  CISTERN_ASSIGN_OR_RETURN(const uint32_t layers,
                           Positive(config, "num_hidden_layers", kMaxLayers));
  std::vector<LayerKind> kinds;
  kinds.reserve(layers);
  for (uint32_t i = 0; i < layers; ++i) {
    kinds.push_back(i % period == offset ? LayerKind::kAttention : LayerKind::kState);
  }
  return kinds;
}

absl::StatusOr<std::vector<LayerKind>> LayerKinds(const JsonObject& config,
                                                  absl::string_view model_type) {
  if (model_type == "jamba") {
    CISTERN_ASSIGN_OR_RETURN(const uint32_t period,
                             PositiveOr(config, "attn_layer_period", kMaxLayers, 8));
    CISTERN_ASSIGN_OR_RETURN(const uint64_t offset, config.UintOr("attn_layer_offset", period - 1,
                                                                  std::min(4u, period - 1)));
    return KindsOfPeriod(config, period, static_cast<uint32_t>(offset));
  }
  if (model_type == "nemotron_h" && config.Has("hybrid_override_pattern")) {
    return KindsOfPattern(config, "hybrid_override_pattern");
  }
  const absl::string_view names = EitherName(config, "layer_types", "layers_block_type");
  if (config.Has(names)) return KindsOfNames(config, names);
  const bool minimax = absl::StartsWith(model_type, "minimax");
  const absl::string_view numbers = EitherName(config, "attn_type_list", "decoder_attention_types");
  if (minimax && config.Has(numbers)) return KindsOfNumbers(config, numbers);
  if (absl::StartsWith(model_type, "qwen3")) {
    CISTERN_ASSIGN_OR_RETURN(const uint32_t interval,
                             PositiveOr(config, "full_attention_interval", kMaxLayers, 4));
    return KindsOfPeriod(config, interval, interval - 1);
  }
  return config.Error(minimax                      ? "attn_type_list"
                      : model_type == "nemotron_h" ? "hybrid_override_pattern"
                                                   : "layer_types",
                      "is missing: it says which layers are attention");
}

// How many of the model's feed-forward parts have experts, where every layer has one.
absl::StatusOr<uint32_t> ExpertLayers(const JsonObject& config, absl::string_view model_type,
                                      uint32_t layers) {
  const absl::string_view field = EitherName(config, "num_experts", "num_local_experts");
  const uint32_t usual = model_type == "jamba" ? 16 : 0;
  CISTERN_ASSIGN_OR_RETURN(const uint64_t experts, config.UintOr(field, 1 << 12, usual));
  if (experts == 0 || (experts == 1 && model_type == "jamba")) return 0;
  const bool jamba = model_type == "jamba";
  const absl::string_view step = jamba ? "expert_layer_period" : "decoder_sparse_step";
  CISTERN_ASSIGN_OR_RETURN(const uint32_t period,
                           PositiveOr(config, step, kMaxLayers, jamba ? 2 : 1));
  CISTERN_ASSIGN_OR_RETURN(
      const uint64_t offset,
      jamba ? config.UintOr("expert_layer_offset", period - 1, std::min(1u, period - 1))
            : absl::StatusOr<uint64_t>(period - 1));
  CISTERN_ASSIGN_OR_RETURN(const std::vector<uint32_t> dense,
                           config.UintsOr("mlp_only_layers", kMaxLayers, kMaxLayers));
  uint32_t count = 0;
  for (uint32_t i = 0; i < layers; ++i) {
    if (i % period == offset && std::find(dense.begin(), dense.end(), i) == dense.end()) ++count;
  }
  return count;
}

absl::Status ReadAttention(const JsonObject& config, HybridShape* shape) {
  CISTERN_ASSIGN_OR_RETURN(shape->heads,
                           Positive(config, "num_attention_heads", StateSpec::kMaxHeads));
  CISTERN_ASSIGN_OR_RETURN(shape->kv_heads, PositiveOr(config, "num_key_value_heads",
                                                       StateSpec::kMaxHeads, shape->heads));
  const absl::string_view dim = EitherName(config, "head_dim", "attention_head_dim");
  if (config.Has(dim)) {
    CISTERN_ASSIGN_OR_RETURN(shape->head_dim, Positive(config, dim, 1u << 14));
  } else {
    CISTERN_ASSIGN_OR_RETURN(const uint32_t hidden, Positive(config, "hidden_size", kMaxHidden));
    shape->head_dim = hidden / shape->heads;
    if (shape->head_dim * shape->heads != hidden) {
      return config.Error("num_attention_heads",
                          absl::StrCat("is ", shape->heads, "; it must divide hidden_size, ",
                                       hidden, ", or head_dim be given"));
    }
  }
  if (shape->row_bytes() <= ModelSpec::kMaxRowBytes) return absl::OkStatus();
  return config.Error("num_key_value_heads",
                      absl::StrCat("gives rows of ", shape->row_bytes(), " bytes; at most ",
                                   ModelSpec::kMaxRowBytes));
}

// A tail keeps what lies before the kernel's last input.
absl::Status ReadConv(const JsonObject& config, absl::string_view kernel_field, uint64_t channels,
                      StateSpec* state) {
  CISTERN_ASSIGN_OR_RETURN(const uint32_t kernel,
                           PositiveOr(config, kernel_field, StateSpec::kMaxConvWidth + 1, 4));
  state->conv_width = kernel - 1;
  state->conv_channels = kernel == 1 ? 0 : static_cast<uint32_t>(channels);
  return absl::OkStatus();
}

absl::Status ReadMamba1(const JsonObject& config, StateSpec* state) {
  CISTERN_ASSIGN_OR_RETURN(const uint32_t hidden, Positive(config, "hidden_size", kMaxHidden));
  CISTERN_ASSIGN_OR_RETURN(const uint32_t expand, PositiveOr(config, "mamba_expand", 64, 2));
  CISTERN_ASSIGN_OR_RETURN(state->key_dim,
                           PositiveOr(config, "mamba_d_state", StateSpec::kMaxDim, 16));
  state->family = StateFamily::kMamba1;
  state->num_heads = state->num_key_heads = 1;
  state->value_dim = expand * hidden;
  return ReadConv(config, "mamba_d_conv", state->value_dim, state);
}

// The names of Mamba-2's sizes differ between models.
struct Mamba2Names {
  absl::string_view heads, groups, key_dim, value_dim, kernel;
};

absl::Status ReadMamba2(const JsonObject& config, const Mamba2Names& names, StateSpec* state) {
  state->family = StateFamily::kMamba2;
  CISTERN_ASSIGN_OR_RETURN(state->num_heads, Positive(config, names.heads, StateSpec::kMaxHeads));
  CISTERN_ASSIGN_OR_RETURN(state->num_key_heads,
                           Positive(config, names.groups, StateSpec::kMaxHeads));
  CISTERN_ASSIGN_OR_RETURN(state->key_dim, Positive(config, names.key_dim, StateSpec::kMaxDim));
  if (config.Has(names.value_dim) && config.json()[std::string(names.value_dim)] != "auto") {
    CISTERN_ASSIGN_OR_RETURN(state->value_dim,
                             Positive(config, names.value_dim, StateSpec::kMaxDim));
  } else {  // inner size by heads
    CISTERN_ASSIGN_OR_RETURN(const uint32_t hidden, Positive(config, "hidden_size", kMaxHidden));
    CISTERN_ASSIGN_OR_RETURN(const uint32_t expand, PositiveOr(config, "mamba_expand", 64, 2));
    state->value_dim = expand * hidden / state->num_heads;
    if (state->value_dim * state->num_heads != expand * hidden) {
      return config.Error(names.heads, "must divide mamba_expand x hidden_size");
    }
  }
  const uint64_t channels = uint64_t{state->num_heads} * state->value_dim +
                            uint64_t{2} * state->num_key_heads * state->key_dim;
  return ReadConv(config, names.kernel, std::min<uint64_t>(channels, UINT32_MAX), state);
}

absl::Status ReadGatedDelta(const JsonObject& config, StateSpec* state) {
  state->family = StateFamily::kGatedDelta;
  CISTERN_ASSIGN_OR_RETURN(state->num_heads,
                           Positive(config, "linear_num_value_heads", StateSpec::kMaxHeads));
  CISTERN_ASSIGN_OR_RETURN(state->num_key_heads,
                           Positive(config, "linear_num_key_heads", StateSpec::kMaxHeads));
  CISTERN_ASSIGN_OR_RETURN(state->key_dim,
                           Positive(config, "linear_key_head_dim", StateSpec::kMaxDim));
  CISTERN_ASSIGN_OR_RETURN(state->value_dim,
                           Positive(config, "linear_value_head_dim", StateSpec::kMaxDim));
  const uint64_t channels = uint64_t{state->num_heads} * state->value_dim +
                            uint64_t{2} * state->num_key_heads * state->key_dim;
  return ReadConv(config, "linear_conv_kernel_dim", std::min<uint64_t>(channels, UINT32_MAX),
                  state);
}

absl::Status ReadState(const JsonObject& config, absl::string_view model_type,
                       const HybridShape& shape, StateSpec* state) {
  if (model_type == "jamba") return ReadMamba1(config, state);
  if (model_type == "nemotron_h") {
    return ReadMamba2(config,
                      {.heads = "mamba_num_heads",
                       .groups = EitherName(config, "n_groups", "mamba_n_groups"),
                       .key_dim = "ssm_state_size",
                       .value_dim = "mamba_head_dim",
                       .kernel = EitherName(config, "conv_kernel", "mamba_d_conv")},
                      state);
  }
  if (model_type == "granitemoehybrid") {
    return ReadMamba2(config,
                      {.heads = "mamba_n_heads",
                       .groups = "mamba_n_groups",
                       .key_dim = "mamba_d_state",
                       .value_dim = "mamba_d_head",
                       .kernel = "mamba_d_conv"},
                      state);
  }
  if (absl::StartsWith(model_type, "qwen3")) return ReadGatedDelta(config, state);
  state->family = StateFamily::kLightning;
  state->num_heads = state->num_key_heads = shape.heads;
  state->key_dim = state->value_dim = shape.head_dim;
  return absl::OkStatus();
}

absl::StatusOr<StateType> TemporalType(const JsonObject& config) {
  const absl::string_view field = EitherName(config, "mamba_ssm_dtype", "mamba_ssm_cache_dtype");
  if (!config.Has(field)) return StateType::kFloat32;
  CISTERN_ASSIGN_OR_RETURN(const std::string type, config.String(field));
  if (type == "float32") return StateType::kFloat32;
  if (type == "bfloat16") return StateType::kBf16;
  return config.Error(field, absl::StrCat("'", type,
                                          "' is neither float32 nor bfloat16; say what your worker "
                                          "keeps with the option state_type"));
}

// The type, and what no field alone shows: heads that do not divide, a state that is too large.
absl::Status FinishState(const JsonObject& config, std::optional<StateType> state_type,
                         StateSpec* state) {
  if (state_type.has_value()) {
    state->temporal_type = *state_type;
  } else {
    CISTERN_ASSIGN_OR_RETURN(state->temporal_type, TemporalType(config));
  }
  return state->Validate();
}

}  // namespace

std::span<const absl::string_view> HybridModelTypes() { return kModelTypes; }

absl::StatusOr<HybridShape> HybridFromConfig(const JsonObject& config, absl::string_view model_type,
                                             std::optional<StateType> state_type) {
  HybridShape shape;
  CISTERN_ASSIGN_OR_RETURN(const std::vector<LayerKind> kinds, LayerKinds(config, model_type));
  const auto count = [&](LayerKind kind) {
    return static_cast<uint32_t>(std::count(kinds.begin(), kinds.end(), kind));
  };
  shape.attention_layers = count(LayerKind::kAttention);
  if (shape.attention_layers == 0) {
    return config.Error("num_hidden_layers",
                        "has no attention layer among them; a model that keeps "
                        "no rows is not supported");
  }
  const uint32_t states = count(LayerKind::kState);
  if (model_type == "nemotron_h") {  // a layer is one thing only
    shape.dense_layers = count(LayerKind::kDense);
    shape.expert_layers = count(LayerKind::kExperts);
  } else {
    const uint32_t layers = shape.attention_layers + states;
    CISTERN_ASSIGN_OR_RETURN(shape.expert_layers, ExpertLayers(config, model_type, layers));
    shape.dense_layers = layers - shape.expert_layers;
  }
  CISTERN_RETURN_IF_ERROR(ReadAttention(config, &shape));
  if (states == 0) return shape;
  CISTERN_RETURN_IF_ERROR(ReadState(config, model_type, shape, &shape.state));
  shape.state.num_layers = states;
  CISTERN_RETURN_IF_ERROR(FinishState(config, state_type, &shape.state));
  return shape;
}

absl::StatusOr<StateSpec> KdaFromConfig(const JsonObject& config, const JsonObject& linear,
                                        uint32_t num_layers, std::optional<StateType> state_type) {
  StateSpec state;
  if (num_layers == 0) return state;
  state.family = StateFamily::kKda;
  state.num_layers = num_layers;
  CISTERN_ASSIGN_OR_RETURN(state.num_heads, Positive(linear, "num_heads", StateSpec::kMaxHeads));
  CISTERN_ASSIGN_OR_RETURN(state.key_dim, Positive(linear, "head_dim", 1u << 14));
  state.num_key_heads = state.num_heads;
  state.value_dim = state.key_dim;
  CISTERN_RETURN_IF_ERROR(ReadConv(linear, "short_conv_kernel_size",
                                   uint64_t{3} * state.num_heads * state.key_dim, &state));
  CISTERN_RETURN_IF_ERROR(FinishState(config, state_type, &state));
  return state;
}

}  // namespace cistern::base
