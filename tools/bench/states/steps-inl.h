// The recurrence step by step, compiled once per Highway target. Include after foreach_target.h.
// K and V are multiples of 16.
#if defined(CISTERN_TOOLS_STEPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_TOOLS_STEPS_INL_H_
#undef CISTERN_TOOLS_STEPS_INL_H_
#else
#define CISTERN_TOOLS_STEPS_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/recurrence/chunk-inl.h"
#include "kernels/recurrence/exp-inl.h"
#include "kernels/recurrence/scratch.h"
#include "kernels/recurrence/tile-inl.h"
#include "tools/bench/states/published_forms.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One token's operands for one head.
struct TokenRows {
  float* key;       // k
  float* question;  // k decayed: the old state answers it as the decayed one answers k
  float* query;     // q decayed
  float* alpha;     // decays by channel, also where they are all one number
  float weight = 1;
  float key_query = 0;  // k . q
};

// q null: nobody asks.
HWY_INLINE void LoadTokenRows(const RecurrenceShape& shape, const TokenArray& q,
                              const TokenArray& k, const DecayArray& decay,
                              const TokenArray& weight, size_t past, size_t fresh, size_t head,
                              TokenRows& rows) {
  const Floats df;
  const size_t width = shape.key_dim, key_head = shape.key_head(static_cast<uint32_t>(head));
  LoadFloats(k.At(past, key_head), k.type, width, width, rows.key);
  if (DecaysByChannel(shape.recurrence)) {
    LoadFloats(decay.log.At(past, head), decay.log.type, width, width, rows.alpha);
    ExpInPlace(rows.alpha, width);
  } else {
    const float log = RateOf(decay, head) * ElementAt(decay.log, past, head, 0);
    const float one = hn::GetLane(ExpOfLog(df, hn::Set(df, log)));
    std::fill_n(rows.alpha, width, one);
  }
  rows.weight = WeightAt(weight, fresh, head);
  for (size_t d = 0; d < width; d += kLanes) {
    const auto key = hn::Load(df, rows.key + d), alpha = hn::Load(df, rows.alpha + d);
    hn::Store(hn::Mul(alpha, key), df, rows.question + d);
  }
  if (q.data == nullptr) return;
  LoadFloats(q.At(fresh, key_head), q.type, width, width, rows.query);
  auto sum = hn::Zero(df);
  for (size_t d = 0; d < width; d += kLanes) {
    const auto key = hn::Load(df, rows.key + d), query = hn::Load(df, rows.query + d);
    sum = hn::MulAdd(key, query, sum);
    hn::Store(hn::Mul(hn::Load(df, rows.alpha + d), query), df, rows.query + d);
  }
  rows.key_query = hn::GetLane(hn::SumOfLanes(df, sum));
}

struct StepWork {
  StepWork(const RecurrenceShape& shape, float* scratch) : shape(shape) {
    ScratchCutter cutter(scratch);
    const size_t width = PaddedWidth(shape.key_dim);
    rows = {cutter.Cut(width), cutter.Cut(width), cutter.Cut(width), cutter.Cut(width)};
    values = cutter.Cut(PaddedWidth(shape.value_dim));
    state = cutter.Cut(shape.head_floats());
  }
  const RecurrenceShape& shape;
  TokenRows rows;
  float* values;
  float* state;  // of the head under way, between two tokens
};

// Where a step's new state goes.
struct StepTarget {
  float* to = nullptr;
  bool stream = false;    // `to` will not be read soon
  float* kept = nullptr;  // written past the caches besides
};

// kAnswers: somebody asks; else rows.query and out are not there.
template <bool kDelta, bool kAnswers, bool kStream, bool kKeep>
HWY_INLINE void StepHead(StepWork& work, const float* from, const StepTarget& target, float* out) {
  const Floats df;
  const TokenRows& rows = work.rows;
  const size_t width = work.shape.key_dim;
  for (size_t row = 0; row < work.shape.value_dim; row += 4) {
    const float* const in = from + row * width;
    HWY_ALIGN float by_key[4] = {}, by_query[4], u[4];
    if constexpr (kDelta || kAnswers) {
      AskFourRows<kDelta, kAnswers>(in, width, rows.question, rows.query, width, 48 * width, by_key,
                                    by_query);
    }
    for (size_t r = 0; r < 4; ++r) {
      u[r] = rows.weight * (work.values[row + r] - by_key[r]);
      if constexpr (kAnswers) out[row + r] = by_query[r] + u[r] * rows.key_query;
    }
    for (size_t d = 0; d < width; d += kLanes) {
      const auto alpha = hn::Load(df, rows.alpha + d), key = hn::Load(df, rows.key + d);
      HWY_UNROLL(4)
      for (size_t r = 0; r < 4; ++r) {
        const size_t at = (row + r) * width + d;
        if constexpr (!kDelta && !kAnswers) hwy::Prefetch(from + at + 48 * width);
        const auto old = hn::Mul(alpha, hn::LoadU(df, from + at));
        const auto now = hn::MulAdd(hn::Set(df, u[r]), key, old);
        if constexpr (kStream) {
          hn::Stream(now, df, target.to + at);
        } else {
          hn::Store(now, df, target.to + at);
        }
        if constexpr (kKeep) hn::Stream(now, df, target.kept + at);
      }
    }
  }
}

template <bool kDelta, bool kAnswers>
HWY_INLINE void StepHeadTo(StepWork& work, const float* from, const StepTarget& target,
                           float* out) {
  if (target.kept != nullptr) {
    StepHead<kDelta, kAnswers, false, true>(work, from, target, out);
  } else if (target.stream) {
    StepHead<kDelta, kAnswers, true, false>(work, from, target, out);
  } else {
    StepHead<kDelta, kAnswers, false, false>(work, from, target, out);
  }
}

template <bool kDelta, bool kAnswers>
HWY_INLINE void StepOne(StepWork& work, const tools::StepItem& item) {
  const RecurrenceShape& shape = work.shape;
  for (uint32_t head = 0; head < shape.num_heads; ++head) {
    const size_t at_head = head * shape.head_floats();
    for (size_t t = 0; t < item.num_tokens; ++t) {
      LoadTokenRows(shape, kAnswers ? item.q : TokenArray(), item.k, item.decay, item.weight, t, t,
                    head, work.rows);
      LoadFloats(item.v.At(t, head), item.v.type, shape.value_dim, shape.value_dim, work.values);
      const bool last = t + 1 == item.num_tokens && item.state_out != nullptr;
      StepTarget target{.to = last ? item.state_out + at_head : work.state,
                        .stream = last && item.state_out != item.state_in};
      if (item.kept != nullptr) target.kept = item.kept + t * shape.state_floats() + at_head;
      const float* const from = t == 0 ? item.state_in + at_head : work.state;
      float* const out =
          kAnswers ? item.out + (t * shape.num_heads + head) * size_t{shape.value_dim} : nullptr;
      StepHeadTo<kDelta, kAnswers>(work, from, target, out);
    }
  }
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_TOOLS_STEPS_INL_H_
