// What a recurrent layer's part of a prefill costs, by its family.
//
// For the .cc files of base. A multiply and an add are two FLOPs. Counted: the projections into and
// out of the layer with their gates, the short convolution, and the recurrence (3 K V a token and
// head where the state only decays, 5 K V for the delta rules).
// Source   projections: the models' layers in transformers and flash-linear-attention
#pragma once

#include <cstdint>

#include "base/state_spec.h"

namespace cistern::base {

// Of one token in one layer of a valid `state`; `hidden` at most FlopFields::kMaxSize. `dt_rank` is
// Mamba-1's. 0 without state layers.
uint64_t StateLayerFlops(uint64_t hidden, uint64_t dt_rank, const StateSpec& state);

}  // namespace cistern::base
