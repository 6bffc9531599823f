#include "base/state_flops.h"

namespace cistern::base {
namespace {

// Weights of one layer's projections. With H V = `values` and Hk K = `keys` channels:
uint64_t Projections(uint64_t hidden, uint64_t dt_rank, const StateSpec& state) {
  const uint64_t heads = state.num_heads;
  const uint64_t values = heads * state.value_dim;
  const uint64_t keys = uint64_t{state.num_key_heads} * state.key_dim;
  switch (state.family) {
    case StateFamily::kNone:
      return 0;
    case StateFamily::kMamba1:  // x and z; dt, B, C from x; dt out of its rank; back
      return hidden * 2 * values + values * (dt_rank + 2 * keys) + dt_rank * values +
             values * hidden;
    case StateFamily::kMamba2:  // x, z, B, C, dt; back
      return hidden * (2 * values + 2 * keys + heads) + values * hidden;
    case StateFamily::kLightning:    // q, k, v, gate; back
    case StateFamily::kGatedLinear:  // the decay's low rank is left out
      return hidden * (2 * keys + 2 * values) + values * hidden;
    case StateFamily::kGatedDelta:  // q, k, v, z, beta, g; back
      return hidden * (2 * keys + 2 * values + 2 * heads) + values * hidden;
    case StateFamily::kKda: {  // q, k, v, beta; decay and gate through a rank of K; back
      const uint64_t decay = state.key_dim * (hidden + heads * state.key_dim);
      const uint64_t gate = state.key_dim * (hidden + values);
      return hidden * (2 * keys + values + heads) + decay + gate + values * hidden;
    }
  }
  return 0;
}

}  // namespace

uint64_t StateLayerFlops(uint64_t hidden, uint64_t dt_rank, const StateSpec& state) {
  if (!state.present()) return 0;
  const bool delta = state.family == StateFamily::kGatedDelta || state.family == StateFamily::kKda;
  const uint64_t elements = uint64_t{state.num_heads} * state.value_dim * state.key_dim;
  const uint64_t conv =
      state.conv_channels == 0 ? 0 : uint64_t{state.conv_channels} * (state.conv_width + 1);
  return 2 * (Projections(hidden, dt_rank, state) + conv) + (delta ? 5 : 3) * elements;
}

}  // namespace cistern::base
