#include <cmath>

#include "kernels/recurrence/elements.h"
#include "kernels/recurrence/mamba1.h"

namespace cistern::kernels {

void FoldMamba1Ref(const Mamba1Params& params) {
  for (const Mamba1Item& item : params.items) {
    for (uint32_t c = 0; c < params.num_channels; ++c) {
      for (uint32_t n = 0; n < params.state_dim; ++n) {
        const size_t at = size_t{c} * params.state_dim + n;
        double h = item.state_in == nullptr ? 0.0 : item.state_in[at];
        for (uint32_t t = 0; t < item.num_tokens; ++t) {
          const double dt = ElementAt(item.dt, t, 0, c);
          h = std::exp(dt * params.a[at]) * h +
              dt * ElementAt(item.x, t, 0, c) * ElementAt(item.b, t, 0, n);
        }
        item.state_out[at] = static_cast<float>(h);
      }
    }
  }
}

}  // namespace cistern::kernels
