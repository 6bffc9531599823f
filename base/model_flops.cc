#include "base/model_flops.h"

#include "base/flop_fields.h"
#include "base/state_flops.h"

namespace cistern::base {
namespace {

// Weights of one MLA layer's projections.
uint64_t MlaWeights(FlopFields& fields, uint64_t hidden, uint64_t heads) {
  const uint64_t kv_rank = fields.Size("kv_lora_rank");
  const uint64_t rope = fields.Size("qk_rope_head_dim");
  const uint64_t nope = fields.Size("qk_nope_head_dim");
  const uint64_t value = fields.Size("v_head_dim");
  const uint64_t q_rank = fields.Optional("q_lora_rank", FlopFields::kMaxSize, 0);
  const uint64_t q_dim = heads * (nope + rope);
  const uint64_t q = q_rank == 0 ? hidden * q_dim : q_rank * (hidden + q_dim);
  return q + hidden * (kv_rank + rope) + kv_rank * heads * (nope + value) + heads * value * hidden;
}

// Weights that a token meets in all feed-forward parts together.
uint64_t FeedForwardWeights(FlopFields& fields, uint64_t hidden, uint64_t layers) {
  const uint64_t dense = 3 * hidden * fields.Size("intermediate_size");
  const uint64_t experts = fields.Experts("n_routed_experts", "num_experts");
  if (experts == 0) return layers * dense;
  const uint64_t visited = fields.Experts("num_experts_per_tok", "num_experts_per_token") +
                           fields.Experts("n_shared_experts", "num_shared_experts");
  const uint64_t sparse =
      3 * hidden * fields.Size("moe_intermediate_size") * visited + hidden * experts;
  const uint64_t first_dense = fields.Optional("first_k_dense_replace", layers, 0);
  return first_dense * dense + (layers - first_dense) * sparse;
}

}  // namespace

ModelFlops EstimateFlops(const JsonObject& config, uint32_t num_mla_layers,
                         const StateSpec& state) {
  FlopFields fields(config);
  const uint64_t hidden = fields.Size("hidden_size");
  const uint64_t heads = fields.Optional("num_attention_heads", 1 << 10, 0);
  const uint64_t layers = fields.Layers("num_hidden_layers");
  if (!fields.known() || hidden == 0 || heads == 0 || layers < num_mla_layers) return {};
  const uint64_t mla = num_mla_layers * MlaWeights(fields, hidden, heads);
  const uint64_t recurrent = state.num_layers * StateLayerFlops(hidden, 0, state);
  const uint64_t feed_forward = FeedForwardWeights(fields, hidden, layers);
  const uint64_t pair = 2 * heads *
                        (fields.Size("qk_nope_head_dim") + fields.Size("qk_rope_head_dim") +
                         fields.Size("v_head_dim"));
  if (!fields.known()) return {};
  return {.per_token = 2 * (mla + feed_forward) + recurrent,
          .per_token_pair = num_mla_layers * pair};
}

}  // namespace cistern::base
