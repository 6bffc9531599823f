// How k_r turns, from a published configuration.
//
// For the .cc files of base. Two spellings are read: rope_theta with rope_scaling {type |
// rope_type, factor, ...} and the newer rope_parameters {rope_type, rope_theta, ...}; both may be
// there when they say the same. Defaults of the yarn block are those of DeepSeek's own modelling
// code: beta 32 and 1, mscale 1, mscale_all_dim 0. An explicit attention_factor replaces the mscale
// ratio, as in transformers; attn_factor multiplies it, as in vLLM.
#pragma once

#include "absl/status/statusor.h"

#include "base/json_fields.h"
#include "base/model_spec.h"

namespace cistern::base {

// InvalidArgument, naming the field: theta missing, a scaling that is not default, linear or yarn,
// a yarn block without its factor or original length, a variation that RotarySpec cannot say.
absl::StatusOr<RotarySpec> RotaryFromConfig(const JsonObject& config);

// Mistral's {factor, original_max_position_embeddings, beta, alpha, apply_scale} as a rope_scaling
// object.
absl::StatusOr<Json> RopeScalingFromMistral(const JsonObject& yarn);

}  // namespace cistern::base
