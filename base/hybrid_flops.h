// What the prefill of a hybrid model costs, estimated from its configuration.
//
// For the .cc files of base; counted as base/model_flops.h says, attention in grouped form (q, k,
// v, o; Qwen's gate), state layers as base/state_flops.h says.
#pragma once

#include "absl/strings/string_view.h"

#include "base/hybrid_config.h"
#include "base/json_fields.h"
#include "base/model_flops.h"

namespace cistern::base {

// `shape` is HybridFromConfig's of the same configuration.
ModelFlops EstimateHybridFlops(const JsonObject& config, absl::string_view model_type,
                               const HybridShape& shape);

}  // namespace cistern::base
