#include <cmath>
#include <vector>

#include "kernels/recurrence/elements.h"
#include "kernels/recurrence/fold.h"

namespace cistern::kernels {
namespace {

// One row of S: value channel `row` of head `head`.
void FoldRowRef(const RecurrenceShape& shape, const FoldItem& item, uint32_t head, uint32_t row,
                std::vector<double>& s) {
  const uint32_t key_head = shape.key_head(head);
  const double rate = RateOf(item.decay, head);
  for (uint32_t t = 0; t < item.num_tokens; ++t) {
    double seen = 0;  // S' k_t
    for (uint32_t d = 0; d < shape.key_dim; ++d) {
      const uint32_t channel = DecaysByChannel(shape.recurrence) ? d : 0;
      s[d] *= std::exp(rate * ElementAt(item.decay.log, t, head, channel));
      seen += s[d] * ElementAt(item.k, t, key_head, d);
    }
    double u = ElementAt(item.v, t, head, row);
    if (IsDelta(shape.recurrence)) u -= seen;
    u *= WeightAt(item.weight, t, head);
    for (uint32_t d = 0; d < shape.key_dim; ++d) s[d] += u * ElementAt(item.k, t, key_head, d);
  }
}

}  // namespace

void FoldRef(const FoldParams& params) {
  const RecurrenceShape& shape = params.shape;
  std::vector<double> s(shape.key_dim);
  for (const FoldItem& item : params.items) {
    for (uint32_t head = 0; head < shape.num_heads; ++head) {
      for (uint32_t row = 0; row < shape.value_dim; ++row) {
        const size_t at = head * shape.head_floats() + size_t{row} * shape.key_dim;
        for (uint32_t d = 0; d < shape.key_dim; ++d) {
          s[d] = item.state_in == nullptr ? 0.0 : item.state_in[at + d];
        }
        FoldRowRef(shape, item, head, row, s);
        for (uint32_t d = 0; d < shape.key_dim; ++d) {
          item.state_out[at + d] = static_cast<float>(s[d]);
        }
      }
    }
  }
}

}  // namespace cistern::kernels
