// The layers of a hybrid model, from its published configuration: attention beside recurrent state.
//
// For the .cc files of base. Read are Jamba (jamba: Mamba-1), Nemotron-H and Nemotron-3
// (nemotron_h: Mamba-2, experts or none), Granite-4.0-h (granitemoehybrid: Mamba-2), Qwen3-Next and
// Qwen3.5 (qwen3_next, qwen3_5*: gated delta rule), MiniMax-01 (minimax*: lightning attention), all
// with attention of K and V per head; and the KDA layers of Kimi-Linear, whose attention is MLA.
//
// Which layer is which: a period and an offset, a pattern ("M-M*-"), a list of names (layer_types,
// layers_block_type) or of numbers (attn_type_list: 1 is attention). Where the configuration also
// has num_hidden_layers, both must agree.
// Source   field names and defaults: transformers' configurations of these models
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/json_fields.h"
#include "base/state_spec.h"

namespace cistern::base {

// Attention with K and V per head, and how many layers there are of each kind.
struct HybridShape {
  uint32_t attention_layers = 0;
  uint32_t dense_layers = 0;   // feed-forward parts without experts
  uint32_t expert_layers = 0;  // feed-forward parts with experts
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  StateSpec state;  // of no family where all layers are attention

  // K and V of one token in one attention layer, bf16.
  uint64_t row_bytes() const { return uint64_t{kv_heads} * head_dim * 2 * 2; }
};

// The model types that HybridFromConfig reads.
std::span<const absl::string_view> HybridModelTypes();

// `state_type`: instead of what the configuration says (mamba_ssm_dtype, mamba_ssm_cache_dtype;
// float32 where it says nothing).
// Errors   InvalidArgument, naming the field: missing or out of range, lists that name no attention
//          layer or do not have num_hidden_layers entries, heads that do not divide, a state type
//          that is neither float32 nor bf16
absl::StatusOr<HybridShape> HybridFromConfig(const JsonObject& config, absl::string_view model_type,
                                             std::optional<StateType> state_type);

// The KDA layers of Kimi-Linear, `num_layers` of them, as linear_attn_config says.
absl::StatusOr<StateSpec> KdaFromConfig(const JsonObject& config, const JsonObject& linear,
                                        uint32_t num_layers, std::optional<StateType> state_type);

}  // namespace cistern::base
