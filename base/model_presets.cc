#include "base/model_presets.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/model_config.h"

namespace cistern::base {
namespace {

struct Preset {
  absl::string_view preset;
  absl::string_view name;  // as published
  absl::string_view config;
};

// Source: the published config.json (params.json of Mistral-Large-3) of each model.
constexpr std::array<Preset, 16> kPresets = {{
    {"deepseek-v2-lite", "deepseek-ai/DeepSeek-V2-Lite", R"({
      "model_type": "deepseek_v2", "num_hidden_layers": 27, "hidden_size": 2048,
      "num_attention_heads": 16, "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 10944,
      "moe_intermediate_size": 1408, "n_routed_experts": 64, "num_experts_per_tok": 6,
      "n_shared_experts": 2, "first_k_dense_replace": 1, "rope_theta": 10000,
      "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
                       "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}
    })"},
    {"deepseek-v2", "deepseek-ai/DeepSeek-V2", R"({
      "model_type": "deepseek_v2", "num_hidden_layers": 60, "hidden_size": 5120,
      "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 12288,
      "moe_intermediate_size": 1536, "n_routed_experts": 160, "num_experts_per_tok": 6,
      "n_shared_experts": 2, "first_k_dense_replace": 1, "rope_theta": 10000,
      "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
                       "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}
    })"},
    {"deepseek-v3", "deepseek-ai/DeepSeek-V3", R"({
      "model_type": "deepseek_v3", "num_hidden_layers": 61, "hidden_size": 7168,
      "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 18432,
      "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8,
      "n_shared_experts": 1, "first_k_dense_replace": 3, "rope_theta": 10000,
      "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
                       "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}
    })"},
    {"kimi-k2", "moonshotai/Kimi-K2-Instruct", R"({
      "model_type": "kimi_k2", "num_hidden_layers": 61, "hidden_size": 7168,
      "num_attention_heads": 64, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 18432,
      "moe_intermediate_size": 2048, "n_routed_experts": 384, "num_experts_per_tok": 8,
      "n_shared_experts": 1, "first_k_dense_replace": 1, "rope_theta": 50000,
      "rope_scaling": {"type": "yarn", "factor": 32, "original_max_position_embeddings": 4096,
                       "beta_fast": 1, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}
    })"},
    {"moonlight", "moonshotai/Moonlight-16B-A3B", R"({
      "model_type": "deepseek_v3", "num_hidden_layers": 27, "hidden_size": 2048,
      "num_attention_heads": 16, "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 11264,
      "moe_intermediate_size": 1408, "n_routed_experts": 64, "num_experts_per_tok": 6,
      "n_shared_experts": 2, "first_k_dense_replace": 1, "rope_theta": 50000, "rope_scaling": null
    })"},
    {"glm-4.7-flash", "zai-org/GLM-4.7-Flash", R"({
      "model_type": "glm4_moe_lite", "num_hidden_layers": 47, "hidden_size": 2048,
      "num_attention_heads": 20, "q_lora_rank": 768, "kv_lora_rank": 512, "qk_nope_head_dim": 192,
      "qk_rope_head_dim": 64, "v_head_dim": 256, "intermediate_size": 10240,
      "moe_intermediate_size": 1536, "n_routed_experts": 64, "num_experts_per_tok": 4,
      "n_shared_experts": 1, "first_k_dense_replace": 1, "rope_theta": 1000000
    })"},
    {"glm-5", "zai-org/GLM-5", R"({
      "model_type": "glm_moe_dsa", "num_hidden_layers": 78, "hidden_size": 6144,
      "num_attention_heads": 64, "q_lora_rank": 2048, "kv_lora_rank": 512, "qk_nope_head_dim": 192,
      "qk_rope_head_dim": 64, "v_head_dim": 256, "intermediate_size": 12288,
      "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8,
      "n_shared_experts": 1, "first_k_dense_replace": 3,
      "rope_parameters": {"rope_type": "default", "rope_theta": 1000000}
    })"},
    {"mistral-large-3", "mistralai/Mistral-Large-3-675B-Instruct-2512", R"({
      "n_layers": 61, "dim": 7168, "n_heads": 128, "hidden_dim": 16384, "q_lora_rank": 1536,
      "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
      "rope_theta": 10000,
      "moe": {"num_experts": 128, "num_experts_per_tok": 4, "num_shared_experts": 1,
              "expert_hidden_dim": 4096, "first_k_dense_replace": 3},
      "yarn": {"factor": 36, "original_max_position_embeddings": 8192, "beta": 32, "alpha": 1,
               "apply_scale": false}
    })"},
    {"joyai-llm-flash", "jdopensource/JoyAI-LLM-Flash", R"({
      "model_type": "deepseek_v3", "num_hidden_layers": 40, "hidden_size": 2048,
      "num_attention_heads": 32, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 7168,
      "moe_intermediate_size": 768, "n_routed_experts": 256, "num_experts_per_tok": 8,
      "n_shared_experts": 1, "first_k_dense_replace": 1, "rope_theta": 32000000
    })"},
    {"kimi-linear", "moonshotai/Kimi-Linear-48B-A3B-Instruct", R"({
      "model_type": "kimi_linear", "num_hidden_layers": 27, "hidden_size": 2304,
      "num_attention_heads": 32, "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 9216,
      "moe_intermediate_size": 1024, "num_experts": 256, "num_experts_per_token": 8,
      "num_shared_experts": 1, "first_k_dense_replace": 1, "mla_use_nope": true,
      "linear_attn_config": {"num_heads": 32, "head_dim": 128, "short_conv_kernel_size": 4,
                             "full_attn_layers": [4, 8, 12, 16, 20, 24, 27]}
    })"},
    {"jamba-1.5-mini", "ai21labs/AI21-Jamba-1.5-Mini", R"({
      "model_type": "jamba", "num_hidden_layers": 32, "hidden_size": 4096,
      "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
      "attn_layer_period": 8, "attn_layer_offset": 4, "num_experts": 16, "num_experts_per_tok": 2,
      "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_conv": 4, "mamba_d_state": 16,
      "mamba_dt_rank": 256, "mamba_expand": 2
    })"},
    {"nemotron-h-8b", "nvidia/Nemotron-H-8B-Base-8K", R"({
      "model_type": "nemotron_h", "hidden_size": 4096, "num_attention_heads": 32,
      "num_key_value_heads": 8, "attention_head_dim": 128, "intermediate_size": 21504,
      "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
      "mamba_num_heads": 128, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8,
      "conv_kernel": 4
    })"},
    {"nemotron-3-nano", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", R"({
      "model_type": "nemotron_h", "hidden_size": 2688, "num_attention_heads": 32,
      "num_key_value_heads": 2, "head_dim": 128, "intermediate_size": 1856,
      "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
      "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8,
      "conv_kernel": 4, "mamba_ssm_cache_dtype": "float32", "n_routed_experts": 128,
      "num_experts_per_tok": 6, "n_shared_experts": 1, "moe_intermediate_size": 1856,
      "moe_shared_expert_intermediate_size": 3712
    })"},
    {"qwen3-next", "Qwen/Qwen3-Next-80B-A3B-Instruct", R"({
      "model_type": "qwen3_next", "num_hidden_layers": 48, "full_attention_interval": 4,
      "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256,
      "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
      "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "num_experts": 512,
      "num_experts_per_tok": 10, "moe_intermediate_size": 512,
      "shared_expert_intermediate_size": 512
    })"},
    {"granite-4.0-h-small", "ibm-granite/granite-4.0-h-small", R"({
      "model_type": "granitemoehybrid", "num_hidden_layers": 40, "hidden_size": 4096,
      "layer_types": [
        "mamba", "mamba", "mamba", "mamba", "mamba", "attention", "mamba", "mamba", "mamba", "mamba",
        "mamba", "mamba", "mamba", "mamba", "mamba", "attention", "mamba", "mamba", "mamba", "mamba",
        "mamba", "mamba", "mamba", "mamba", "mamba", "attention", "mamba", "mamba", "mamba", "mamba",
        "mamba", "mamba", "mamba", "mamba", "mamba", "attention", "mamba", "mamba", "mamba",
        "mamba"],
      "num_attention_heads": 32, "num_key_value_heads": 8, "mamba_n_heads": 128,
      "mamba_n_groups": 1, "mamba_d_state": 128, "mamba_d_head": 64, "mamba_d_conv": 4,
      "num_local_experts": 72, "num_experts_per_tok": 10, "intermediate_size": 768,
      "shared_intermediate_size": 1536
    })"},
    {"minimax-01", "MiniMaxAI/MiniMax-Text-01", R"({
      "model_type": "minimax_text_01", "num_hidden_layers": 80, "hidden_size": 6144,
      "attn_type_list": [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1,
                         0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1,
                         0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1,
                         0, 0, 0, 0, 0, 0, 0, 1],
      "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
      "num_local_experts": 32, "num_experts_per_tok": 2, "intermediate_size": 9216
    })"},
}};

uint64_t Share(uint64_t whole, uint32_t part, uint32_t parts) {
  return static_cast<uint64_t>(static_cast<long double>(whole) * part / parts);
}

}  // namespace

absl::StatusOr<ModelSpec> ModelPreset(absl::string_view name) {
  for (const Preset& preset : kPresets) {
    if (preset.preset == name) return ModelSpecFromHfConfig(preset.config, preset.name, "main");
  }
  return absl::InvalidArgumentError(absl::StrCat("no model preset '", name, "'; there are ",
                                                 absl::StrJoin(ModelPresetNames(), ", ")));
}

std::vector<std::string> ModelPresetNames() {
  std::vector<std::string> names;
  names.reserve(kPresets.size());
  for (const Preset& preset : kPresets) names.emplace_back(preset.preset);
  return names;
}

ModelSpec WithLayers(ModelSpec spec, uint32_t num_layers) {
  const uint32_t rows = std::min(num_layers, spec.num_layers);
  const uint32_t states = std::min(num_layers, spec.state.num_layers);
  const uint32_t kept = rows + states, all = spec.num_layers + spec.state.num_layers;
  if (kept == all) return spec;
  spec.flops_per_token = Share(spec.flops_per_token, kept, all);
  spec.flops_per_token_pair = Share(spec.flops_per_token_pair, rows, spec.num_layers);
  absl::StrAppend(&spec.name, "[0:", num_layers, "]");
  spec.num_layers = rows;
  spec.state.num_layers = states;
  return spec;
}

}  // namespace cistern::base
