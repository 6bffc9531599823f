#include "base/hybrid_flops.h"

#include "absl/strings/match.h"

#include "base/flop_fields.h"
#include "base/state_flops.h"

namespace cistern::base {
namespace {

constexpr uint64_t kMaxSize = FlopFields::kMaxSize;

// Weights that a token meets in one feed-forward part without experts: up and down, and the gate
// where the model has one.
uint64_t DenseWeights(FlopFields& fields, absl::string_view model_type, uint64_t hidden) {
  const uint64_t matrices = model_type == "nemotron_h" ? 2 : 3;
  return matrices * hidden * fields.Size("intermediate_size");
}

// The same with experts: those that a token visits, the shared ones and the router.
uint64_t ExpertWeights(FlopFields& fields, absl::string_view model_type, uint64_t hidden) {
  const uint64_t visited = fields.Experts("num_experts_per_tok", "num_experts_per_token");
  if (model_type == "nemotron_h") {
    const uint64_t latent = fields.Optional("moe_latent_size", kMaxSize, hidden);
    const uint64_t around = latent == hidden ? 0 : 2 * hidden * latent;
    const uint64_t shared = fields.Optional("moe_shared_expert_intermediate_size", kMaxSize, 0);
    return 2 * latent * visited * fields.Size("moe_intermediate_size") + around +
           2 * hidden * shared + hidden * fields.Experts("n_routed_experts", "num_local_experts");
  }
  const bool qwen = absl::StartsWith(model_type, "qwen3");
  const uint64_t size = fields.Size(qwen ? "moe_intermediate_size" : "intermediate_size");
  const uint64_t shared = fields.Optional(
      qwen ? "shared_expert_intermediate_size" : "shared_intermediate_size", kMaxSize, 0);
  return 3 * hidden * (visited * size + shared) +
         hidden * fields.Experts("num_experts", "num_local_experts");
}

// A dense part that Granite's small models have in the place of experts.
uint64_t GraniteDenseWeights(FlopFields& fields, uint64_t hidden) {
  return 3 * hidden * fields.Optional("shared_intermediate_size", kMaxSize, 0);
}

bool IsNumber(const JsonObject& config, const char* name) {
  return config.Has(name) && config.json()[name].is_number();
}

uint64_t FeedForwardWeights(FlopFields& fields, absl::string_view model_type, uint64_t hidden,
                            const HybridShape& shape) {
  uint64_t weights = 0;
  if (shape.dense_layers != 0) {
    const uint64_t dense = model_type == "granitemoehybrid"
                               ? GraniteDenseWeights(fields, hidden)
                               : DenseWeights(fields, model_type, hidden);
    weights += shape.dense_layers * dense;
  }
  if (shape.expert_layers != 0) {
    weights += shape.expert_layers * ExpertWeights(fields, model_type, hidden);
  }
  return weights;
}

}  // namespace

ModelFlops EstimateHybridFlops(const JsonObject& config, absl::string_view model_type,
                               const HybridShape& shape) {
  FlopFields fields(config);
  const uint64_t hidden = fields.Size("hidden_size");
  if (!fields.known() || hidden == 0) return {};
  const uint64_t q = uint64_t{shape.heads} * shape.head_dim;
  const uint64_t kv = uint64_t{shape.kv_heads} * shape.head_dim;
  const uint64_t gate = absl::StartsWith(model_type, "qwen3") ? q : 0;
  const uint64_t attention = hidden * (2 * q + 2 * kv + gate);
  // Missing, or "auto".
  const uint64_t dt_rank =
      IsNumber(config, "mamba_dt_rank") ? fields.Size("mamba_dt_rank") : (hidden + 15) / 16;
  const uint64_t recurrent = shape.state.num_layers * StateLayerFlops(hidden, dt_rank, shape.state);
  const uint64_t feed_forward = FeedForwardWeights(fields, model_type, hidden, shape);
  if (!fields.known()) return {};
  return {.per_token = 2 * (shape.attention_layers * attention + feed_forward) + recurrent,
          .per_token_pair = uint64_t{shape.attention_layers} * 4 * q};
}

}  // namespace cistern::base
