// A model spec from the configuration that is published with the weights.
//
// Reads the config.json of Hugging Face and the params.json of Mistral, of models with
//
//   Multi-head Latent Attention   DeepSeek-V2, V3, R1, V3.1, V3.2 (deepseek_v2, deepseek_v3,
//       deepseek_v32) and what shares their form (Moonlight, JoyAI, Mistral-Large-3), Kimi-K2 and
//       K2.5 (kimi_k2, alone or as text_config), GLM-4.7-Flash (glm4_moe_lite), GLM-5 (glm_moe_dsa)
//   MLA and recurrent state       Kimi-Linear and Kimi-K3 (kimi_linear: NoPE, KDA)
//   attention of K and V per head, and recurrent state   Jamba (jamba), Nemotron-H and Nemotron-3
//       (nemotron_h), Granite-4.0-h (granitemoehybrid), Qwen3-Next and Qwen3.5 (qwen3_next,
//       qwen3_5*, alone or as text_config), MiniMax-01 (minimax*)
//
// The rows of the last kind are opaque: K and V of one token in one attention layer, bf16. Layers
// of multi-token prediction and the index keys of sparse attention are not part of the rows. Source
// field names: transformers' configurations of these models; Mistral's names: vLLM
//          transformers_utils/configs/mistral.py
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/model_spec.h"

namespace cistern::base {

struct ModelConfigOptions {
  // How the worker's cache lays a row out; the configuration does not say. With kOpaque every model
  // loads, whatever its latent and its rotary scaling: its rows are (kv_lora_rank +
  // qk_rope_head_dim) bf16 and are reused only exactly.
  // Rows of K and V per head are opaque whatever this says.
  RowLayout layout = RowLayout::kBf16_576;
  // What the worker keeps its temporal states in. None: what the configuration says
  // (mamba_ssm_dtype, mamba_ssm_cache_dtype), float32 where it does not say.
  std::optional<StateType> state_type;
};

// `name` and `revision` become the spec's: give the revision of the weights, other weights leave
// other rows. The FLOP figures are estimated where the configuration has what they need
// (base/model_flops.h), otherwise 0.
//
// Errors   InvalidArgument, naming the field and what to do: not JSON or not an object; an
//          architecture that is not of the list above; a field missing or out of range; a latent or
//          rotary size that `layout` does not have; a list of layers that cannot be; a state that
//          base::StateSpec cannot say; a rotary scaling that is not default, linear or
//          yarn (dynamic NTK and longrope turn k_r by tables that depend on the length)
absl::StatusOr<ModelSpec> ModelSpecFromHfConfig(absl::string_view config_json,
                                                absl::string_view name, absl::string_view revision,
                                                const ModelConfigOptions& options = {});

}  // namespace cistern::base
