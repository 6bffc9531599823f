#include <cmath>
#include <vector>

#include "kernels/recurrence/decode.h"
#include "kernels/recurrence/elements.h"

namespace cistern::kernels {
namespace {

// One value channel of one head: a row of S, replayed and then continued.
class RowRef {
 public:
  RowRef(const RecurrenceShape& shape, const DecodeItem& item, uint32_t head, uint32_t row)
      : shape_(shape), item_(item), head_(head), s_(shape.key_dim) {
    if (item.state == nullptr) return;
    const float* const from = item.state + head * shape.head_floats() + size_t{row} * shape.key_dim;
    s_.assign(from, from + shape.key_dim);
  }

  void Decay(uint32_t token) {
    for (uint32_t d = 0; d < shape_.key_dim; ++d) {
      const uint32_t channel = DecaysByChannel(shape_.recurrence) ? d : 0;
      s_[d] *= std::exp(double{RateOf(item_.decay, head_)} *
                        ElementAt(item_.decay.log, token, head_, channel));
    }
  }
  double Dot(const TokenArray& keys, uint32_t token) const {
    double sum = 0;
    for (uint32_t d = 0; d < shape_.key_dim; ++d) {
      sum += s_[d] * ElementAt(keys, token, shape_.key_head(head_), d);
    }
    return sum;
  }
  void Add(double u, uint32_t token) {
    for (uint32_t d = 0; d < shape_.key_dim; ++d) {
      s_[d] += u * ElementAt(item_.k, token, shape_.key_head(head_), d);
    }
  }

 private:
  const RecurrenceShape& shape_;
  const DecodeItem& item_;
  const uint32_t head_;
  std::vector<double> s_;
};

void DecodeRowRef(const RecurrenceShape& shape, const DecodeItem& item, uint32_t head,
                  uint32_t row) {
  RowRef s(shape, item, head, row);
  const size_t column = size_t{head} * shape.value_dim + row;
  for (uint32_t i = 0; i < item.num_buffered; ++i) {
    s.Decay(i);
    s.Add(item.u[i * item.u_token_stride + column], i);
  }
  for (uint32_t t = 0; t < item.num_new; ++t) {
    const uint32_t token = item.num_buffered + t;
    s.Decay(token);
    double u = ElementAt(item.v, t, head, row);
    if (IsDelta(shape.recurrence)) u -= s.Dot(item.k, token);
    u *= WeightAt(item.weight, t, head);
    s.Add(u, token);
    item.u[token * item.u_token_stride + column] = static_cast<float>(u);
    item.out[t * item.out_token_stride + column] = static_cast<float>(s.Dot(item.q, t));
  }
}

}  // namespace

void DecodeRef(const DecodeParams& params) {
  for (const DecodeItem& item : params.items) {
    for (uint32_t head = 0; head < params.shape.num_heads; ++head) {
      for (uint32_t row = 0; row < params.shape.value_dim; ++row) {
        DecodeRowRef(params.shape, item, head, row);
      }
    }
  }
}

}  // namespace cistern::kernels
