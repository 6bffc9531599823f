// What a model's prefill costs, estimated from its configuration.
//
// For the .cc files of base. A multiply and an add are two FLOPs. Counted per token: the MLA
// projections (q, kv_a, kv_b, o), the feed-forward part (dense layers, or the experts that a token
// visits, the shared ones and the router); per pair of tokens: scores and values in multi-head
// form. Left out: embeddings, the head (prefill needs one row of it), norms, index keys. Recurrent
// layers count what base/state_flops.h says.
#pragma once

#include <cstdint>

#include "base/json_fields.h"
#include "base/state_spec.h"

namespace cistern::base {

struct ModelFlops {
  uint64_t per_token = 0;  // 0 = the configuration does not say enough
  uint64_t per_token_pair = 0;
};

// `config` has Hugging Face's field names; `num_mla_layers` of its num_hidden_layers keep rows,
// `state` says what the others are (base/hybrid_flops.h: of models without MLA).
ModelFlops EstimateFlops(const JsonObject& config, uint32_t num_mla_layers, const StateSpec& state);

}  // namespace cistern::base
