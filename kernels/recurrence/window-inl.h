// The tokens since a state, and what they say to new ones: products of new keys and queries with
// every token between, decayed. Compiled once per Highway target. Include after foreach_target.h.
#if defined(CISTERN_KERNELS_WINDOW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_WINDOW_INL_H_
#undef CISTERN_KERNELS_WINDOW_INL_H_
#else
#define CISTERN_KERNELS_WINDOW_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/recurrence/chunk-inl.h"
#include "kernels/recurrence/decode.h"
#include "kernels/recurrence/exp-inl.h"
#include "kernels/recurrence/scratch.h"
#include "kernels/recurrence/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr size_t kGroup = kDecodeGroup;  // new tokens that one pass over the state serves

// Row t of a group's questions is key t, row kGroup + t query t.
struct Window {
  Window(const RecurrenceShape& shape, ScratchCutter& cutter)
      : shape(shape),
        width(PaddedWidth(shape.key_dim)),
        questions(cutter.Cut(2 * kGroup * width)),
        lanes(cutter.Cut(2 * kGroup * width)),
        keys(cutter.Cut(kMaxDecodeTokens * width)),
        alpha(cutter.Cut(kMaxDecodeTokens * width)),
        pairs(cutter.Cut(size_t{kMaxDecodeTokens} * 2 * kGroup)),
        with_key(cutter.Cut(kGroup * kMaxDecodeTokens)),
        with_query(cutter.Cut(kGroup * kMaxDecodeTokens)),
        chunk_logs(cutter.Cut(size_t{2} * kMaxDecodeTokens / kChunk * width)),
        logs(cutter.Cut(2 * kGroup * width)),
        walking(cutter.Cut(2 * width)) {}

  const RecurrenceShape& shape;
  const size_t width;
  float* questions;      // [16][width]
  float* lanes;          // [width][16]: the same, questions in lanes
  float* keys;           // [256][width]
  float* alpha;          // [256][width]: decays by channel
  float* pairs;          // [256][16]: token i . question
  float* with_key;       // [8][256]: k_t D_ti k_i
  float* with_query;     // [8][256]: q_t D_ti k_i
  float* chunk_logs;     // [16][2][width]: LogSum of each chunk's tokens, by channel
  float* logs;           // [8][2][width]: from the begin of a new token's chunk to that token
  float* walking;        // [2][width]: key and query on their way back
  float before[kGroup];  // how much of the state is left at token t, where the questions do not say

  // The group under way.
  const DecodeItem* item = nullptr;
  size_t first = 0;  // of the new tokens
  size_t count = 0;  // 1 to 8

  size_t past(size_t t) const { return item->num_buffered + first + t; }  // token number of new t
  size_t num_tokens() const { return past(count); }
};

HWY_INLINE void LoadQuestions(Window& window, size_t key_head) {
  const DecodeItem& item = *window.item;
  const size_t key_dim = window.shape.key_dim, width = window.width;
  const size_t rows = window.count == 1 ? 1 : kGroup;  // one token's stay as they are: no lanes
  for (size_t t = 0; t < rows; ++t) {
    const bool there = t < window.count;
    LoadFloats(there ? item.k.At(window.past(t), key_head) : nullptr, item.k.type,
               there ? key_dim : 0, width, window.questions + t * width);
    LoadFloats(there ? item.q.At(window.first + t, key_head) : nullptr, item.q.type,
               there ? key_dim : 0, width, window.questions + (kGroup + t) * width);
  }
}

// The keys of all tokens, to a whole number of chunks.
HWY_INLINE void LoadWindowKeys(Window& window, size_t key_head) {
  const size_t num_tokens = window.num_tokens();
  for (size_t i = 0; i < num_tokens; i += kChunk) {
    PackKeys(window.item->k, {.first = i, .count = std::min(kChunk, num_tokens - i)}, key_head,
             window.shape.key_dim, window.width, window.keys + i * window.width);
  }
}

// a . x and b . x, x of key_dim elements as they lie in memory; a and b are padded with zeros.
template <ElementType kType>
HWY_INLINE void TwoDots(const float* a, const float* b, const std::byte* x, size_t key_dim,
                        float* ax, float* bx) {
  const Floats df;
  FloatVec sum_a = hn::Zero(df), sum_b = hn::Zero(df);
  size_t d = 0;
  for (; d + kLanes <= key_dim; d += kLanes) {
    FloatVec with;
    if constexpr (kType == ElementType::kBf16) {
      const hn::Rebind<uint16_t, Floats> d16;
      const hn::Rebind<uint32_t, Floats> d32;
      const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(x) + d);
      with = hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
    } else {
      with = hn::LoadU(df, reinterpret_cast<const float*>(x) + d);
    }
    sum_a = hn::MulAdd(hn::Load(df, a + d), with, sum_a);
    sum_b = hn::MulAdd(hn::Load(df, b + d), with, sum_b);
  }
  *ax = hn::GetLane(hn::SumOfLanes(df, sum_a));
  *bx = hn::GetLane(hn::SumOfLanes(df, sum_b));
  for (; d < key_dim; ++d) {
    const float with = kType == ElementType::kBf16
                           ? Bf16ToFloat(reinterpret_cast<const uint16_t*>(x)[d])
                           : reinterpret_cast<const float*>(x)[d];
    *ax += a[d] * with;
    *bx += b[d] * with;
  }
}

// The products of one new token.
template <ElementType kType>
HWY_INLINE void PairOne(Window& window, size_t key_head) {
  for (size_t i = 0; i < window.num_tokens(); ++i) {
    float* const pair = window.pairs + i * kChunk;
    TwoDots<kType>(window.questions, window.questions + kGroup * window.width,
                   window.item->k.At(i, key_head), window.shape.key_dim, pair, pair + kGroup);
  }
}

// Questions and products that all heads with the same keys share, where decay is one number.
HWY_INLINE void PairWindow(Window& window, size_t key_head) {
  const size_t width = window.width;
  LoadQuestions(window, key_head);
  if (window.count == 1) {
    window.item->k.type == ElementType::kBf16 ? PairOne<ElementType::kBf16>(window, key_head)
                                              : PairOne<ElementType::kFloat32>(window, key_head);
    return;
  }
  LoadWindowKeys(window, key_head);
  TransposeTokens(window.questions, width, width, window.lanes);
  for (size_t i = 0; i < window.num_tokens(); i += kChunk) {
    const float* const keys = window.keys + i * width;
    DotBlock(keys, width, window.lanes, width, window.pairs + i * kChunk);
  }
}

// The shared products, decayed for one head.
HWY_INLINE void DecayWindow(Window& window, size_t head) {
  const size_t num_tokens = window.num_tokens();
  LogSums<kMaxDecodeTokens> sums;
  double sum = 0;
  for (size_t i = 0; i < num_tokens; i += kChunk) {
    sum = SumLogs(window.item->decay, {.first = i, .count = std::min(kChunk, num_tokens - i)}, head,
                  sum, i, sums);
  }
  HWY_ALIGN float decays[kMaxDecodeTokens];
  for (size_t t = 0; t < window.count; ++t) {
    float* const with_key = window.with_key + t * kMaxDecodeTokens;
    float* const with_query = window.with_query + t * kMaxDecodeTokens;
    const size_t past = window.past(t);
    DecaysSince(sums, past, past / kChunk * kChunk + kChunk, decays);
    for (size_t i = 0; i <= past; ++i) {
      with_key[i] = decays[i] * window.pairs[i * kChunk + t];
      with_query[i] = decays[i] * window.pairs[i * kChunk + kGroup + t];
    }
    window.before[t] = static_cast<float>(std::exp(sums.At(past)));
  }
}

// TwoDots, and then a and b are decayed.
HWY_INLINE void TwoDotsAndDecay(const float* alpha, const float* x, size_t width, float* a,
                                float* b, float* ax, float* bx) {
  const Floats df;
  FloatVec sum_a = hn::Zero(df), sum_b = hn::Zero(df);
  for (size_t d = 0; d < width; d += kLanes) {
    const auto with = hn::Load(df, x + d), factor = hn::Load(df, alpha + d);
    const auto from_a = hn::Load(df, a + d), from_b = hn::Load(df, b + d);
    sum_a = hn::MulAdd(from_a, with, sum_a);
    sum_b = hn::MulAdd(from_b, with, sum_b);
    hn::Store(hn::Mul(factor, from_a), df, a + d);
    hn::Store(hn::Mul(factor, from_b), df, b + d);
  }
  *ax = hn::GetLane(hn::SumOfLanes(df, sum_a));
  *bx = hn::GetLane(hn::SumOfLanes(df, sum_b));
}

HWY_INLINE void StoreSum(const LogSum& sum, float* to, size_t width) {
  hn::Store(sum.sum, Floats(), to);
  hn::Store(sum.rest, Floats(), to + width);
}

// The decays of all tokens, and sums of their logs by chunk.
HWY_INLINE void LoadWindowDecays(Window& window, size_t head) {
  const Floats df;
  const size_t width = window.width, num_tokens = window.num_tokens(), first_new = window.past(0);
  for (size_t first = 0; first < num_tokens; first += kChunk) {
    const size_t count = std::min(kChunk, num_tokens - first);
    float* const alpha = window.alpha + first * width;
    LoadChannelLogs(window.item->decay, {.first = first, .count = count}, head,
                    window.shape.key_dim, width, alpha);
    for (size_t d = 0; d < width; d += kLanes) {
      LogSum sum;
      for (size_t t = 0; t < count; ++t) {
        const FloatVec log = hn::Load(df, alpha + t * width + d);
        sum.Add(log);
        hn::Store(ExpOfLog(df, log), df, alpha + t * width + d);
        if (first + t < first_new) continue;
        StoreSum(sum, window.logs + 2 * (first + t - first_new) * width + d, width);
      }
      StoreSum(sum, window.chunk_logs + 2 * (first / kChunk) * width + d, width);
    }
  }
}

// The questions of new token t as they are behind the tokens up to the begin of its own chunk, or,
// `sums` now reaching back further, of an earlier one. Adds the next chunk's `logs` to `sums`.
HWY_INLINE void StartAgain(Window& window, size_t t, const float* logs, float* sums) {
  const Floats df;
  const size_t width = window.width;
  for (size_t d = 0; d < width; d += kLanes) {
    LogSum sum(hn::Load(df, sums + d), hn::Load(df, sums + width + d));
    const FloatVec decay = sum.Exp();
    for (size_t n = 0; n < 2; ++n) {
      const auto asked = hn::Load(df, window.questions + (n * kGroup + t) * width + d);
      hn::Store(hn::Mul(decay, asked), df, window.walking + n * width + d);
    }
    sum.Add(hn::Load(df, logs + d));
    sum.rest = hn::Add(sum.rest, hn::Load(df, logs + width + d));
    StoreSum(sum, sums + d, width);
  }
}

// Decay by channel: the questions walk back through the tokens and decay on the way, until they are
// what the state is asked. At the begin of each chunk they start again from what they were at
// first, decayed at once.
HWY_INLINE void WalkWindow(Window& window, size_t head) {
  const size_t width = window.width;
  const size_t key_head = window.shape.key_head(static_cast<uint32_t>(head));
  LoadQuestions(window, key_head);
  LoadWindowKeys(window, key_head);
  LoadWindowDecays(window, head);
  for (size_t t = 0; t < window.count; ++t) {
    float* const key = window.walking;
    float* const query = window.walking + width;
    std::copy_n(window.questions + t * width, width, key);
    std::copy_n(window.questions + (kGroup + t) * width, width, query);
    for (size_t i = window.past(t) + 1; i-- > 0;) {
      TwoDotsAndDecay(window.alpha + i * width, window.keys + i * width, width, key, query,
                      window.with_key + t * kMaxDecodeTokens + i,
                      window.with_query + t * kMaxDecodeTokens + i);
      if (i % kChunk != 0 || i == 0) continue;
      StartAgain(window, t, window.chunk_logs + 2 * (i / kChunk - 1) * width,
                 window.logs + 2 * t * width);
    }
    std::copy_n(key, width, window.questions + t * width);
    std::copy_n(query, width, window.questions + (kGroup + t) * width);
    window.before[t] = 1;
  }
  if (window.count > 1) TransposeTokens(window.questions, width, width, window.lanes);
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_WINDOW_INL_H_
