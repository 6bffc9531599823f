// What a chunk of at most 16 tokens does to any row of a state, made once and used for every row:
// keys and decays, and for the delta rules the inverse of their triangular system. Compiled once
// per Highway target. Include after foreach_target.h.
//
// D_ij = exp(sum_{j<s<=i} g_s). Whatever is carried on from chunk to chunk is e to a sum of logs,
// never a product of e^g that were rounded one by one: where a head forgets the same for each
// token, these roundings are all the same and add up.
#if defined(CISTERN_KERNELS_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_CHUNK_INL_H_
#undef CISTERN_KERNELS_CHUNK_INL_H_
#else
#define CISTERN_KERNELS_CHUNK_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/recurrence/elements.h"
#include "kernels/recurrence/scratch.h"
#include "kernels/recurrence/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Which tokens, of which head.
struct ChunkTokens {
  size_t first = 0;
  size_t count = 0;  // 1 to 16
};

// rows [16][width] = the chunk's keys, zeros behind the last.
HWY_INLINE void PackKeys(const TokenArray& k, const ChunkTokens& tokens, size_t key_head,
                         size_t key_dim, size_t width, float* rows) {
  for (size_t t = 0; t < kChunk; ++t) {
    const bool there = t < tokens.count;
    LoadFloats(there ? k.At(tokens.first + t, key_head) : nullptr, k.type, there ? key_dim : 0,
               width, rows + t * width);
  }
}

inline constexpr double kLeastLog = -1000;

// values[i] = e^{values[i]}; count is a multiple of 16.
HWY_INLINE void ExpInPlace(float* values, size_t count) {
  const Floats df;
  for (size_t i = 0; i < count; i += kLanes) {
    hn::Store(hn::Exp(df, hn::Load(df, values + i)), df, values + i);
  }
}

// sums[t] = `before` and the g of all the chunk's tokens up to t; behind the last, of all. No less
// than kLeastLog is added for a token: e^g is 0 far above it, and differences of two sums stay
// numbers. Returns the last sum.
HWY_INLINE double SumLogs(const DecayArray& decay, const ChunkTokens& tokens, size_t head,
                          double before, double* sums) {
  const double rate = RateOf(decay, head);
  for (size_t t = 0; t < kChunk; ++t) {
    if (t < tokens.count) {
      before += std::max(rate * ElementAt(decay.log, tokens.first + t, head, 0), kLeastLog);
    }
    sums[t] = before;
  }
  return before;
}

// out[i] = e^{upto - sums[i]}: what is left of token i, where `upto` ends. 1 for later tokens.
// count is a multiple of 16.
HWY_INLINE void DecaysSince(const double* sums, double upto, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(std::min(upto - sums[i], 0.0));
  ExpInPlace(out, count);
}

// weights [16]: 0 behind the last token.
HWY_INLINE void LoadWeights(const TokenArray& weight, const ChunkTokens& tokens, size_t head,
                            float* weights) {
  for (size_t t = 0; t < kChunk; ++t) {
    weights[t] = t < tokens.count ? WeightAt(weight, tokens.first + t, head) : 0;
  }
}

// after[t] = D_{last,t}: how much of token t is left at the chunk's end; 0 behind the last. Returns
// how much is left of what was before the chunk.
HWY_INLINE float DecaysAfter(const double* sums, size_t count, float* after) {
  DecaysSince(sums, sums[kChunk - 1], kChunk, after);
  for (size_t t = count; t < kChunk; ++t) after[t] = 0;
  return static_cast<float>(std::exp(sums[kChunk - 1]));
}

// Scalar decay: values are scaled by b_t D_{last,t}, keys stay as they are.
HWY_INLINE void PrepareScalar(const DecayArray& decay, const TokenArray& weight,
                              const ChunkTokens& tokens, size_t head, ChunkScratch& chunk) {
  double sums[kChunk];
  HWY_ALIGN float weights[kChunk];
  SumLogs(decay, tokens, head, 0, sums);
  LoadWeights(weight, tokens, head, weights);
  chunk.decay[0] = DecaysAfter(sums, tokens.count, chunk.scale);
  for (size_t t = 0; t < kChunk; ++t) chunk.scale[t] *= weights[t];
}

// logs [16][width] = g of each token and channel, at least kLeastLog; 0 behind the last token and
// the last channel.
HWY_INLINE void LoadChannelLogs(const DecayArray& decay, const ChunkTokens& tokens, size_t head,
                                size_t key_dim, size_t width, float* logs) {
  const Floats df;
  const auto rate = hn::Set(df, RateOf(decay, head));
  const auto least = hn::Set(df, static_cast<float>(kLeastLog));
  for (size_t t = 0; t < kChunk; ++t) {
    float* const row = logs + t * width;
    const bool there = t < tokens.count;
    LoadFloats(there ? decay.log.At(tokens.first + t, head) : nullptr, decay.log.type,
               there ? key_dim : 0, width, row);
    for (size_t d = 0; d < width; d += kLanes) {
      hn::Store(hn::Max(hn::Mul(rate, hn::Load(df, row + d)), least), df, row + d);
    }
  }
}

// A sum of logs and what its roundings have left out: decays of one size would leave out the same
// each time.
struct LogSum {
  HWY_INLINE LogSum() : sum(hn::Zero(Floats())), rest(sum) {}
  HWY_INLINE LogSum(FloatVec sum, FloatVec rest) : sum(sum), rest(rest) {}

  HWY_INLINE void Add(FloatVec log) {  // Knuth's exact sum of two
    const FloatVec total = hn::Add(sum, log);
    const FloatVec from_log = hn::Sub(total, sum);
    const FloatVec from_sum = hn::Sub(total, from_log);
    rest = hn::Add(rest, hn::Add(hn::Sub(sum, from_sum), hn::Sub(log, from_log)));
    sum = total;
  }
  HWY_INLINE FloatVec Exp() const {
    const FloatVec decay = hn::Exp(Floats(), sum);
    return hn::MulAdd(decay, rest, decay);
  }

  FloatVec sum, rest;
};

// Diagonal decay: keys [16][width] become D_{last,t} k_t; values are scaled by b_t.
HWY_INLINE void PrepareDiagonal(const float* logs, const TokenArray& weight,
                                const ChunkTokens& tokens, size_t head, size_t width,
                                ChunkScratch& chunk) {
  const Floats df;
  for (size_t d = 0; d < width; d += kLanes) {
    LogSum after;
    for (size_t t = tokens.count; t-- > 0;) {
      float* const key = chunk.keys + t * width + d;
      if (t + 1 < tokens.count) {
        hn::Store(hn::Mul(hn::Exp(df, after.sum), hn::Load(df, key)), df, key);
      }
      after.Add(hn::Load(df, logs + t * width + d));
    }
    hn::Store(after.Exp(), df, chunk.decay + d);
  }
  LoadWeights(weight, tokens, head, chunk.scale);
}

// The keys' lanes and their products: all that heads with the same keys share under gated delta.
HWY_INLINE void PairKeys(size_t width, ChunkScratch& chunk) {
  TransposeTokens(chunk.keys, width, width, chunk.key_lanes);
  DotBlock(chunk.keys, width, chunk.key_lanes, width, chunk.keys, chunk.pairs);
}

// solve [i][t] = T[t][i] b_i after_t with T = (I + L)^-1, L[i][j] = b_i pairs[i][j] for j < i: what
// row i of the values that are not explained yet adds to the t-th update.
HWY_INLINE void Solve(const float* pairs, const float* weights, const float* after, float* solve) {
  const Floats df;
  for (size_t i = kChunk; i-- > 0;) {
    HWY_ALIGN float unit[kChunk] = {};
    unit[i] = 1;
    for (size_t n = 0; n < kChunk; n += kLanes) {
      FloatVec sum = hn::Load(df, unit + n);
      for (size_t j = kChunk; --j > i;) {  // the row that was finished last comes last
        const auto factor = hn::Set(df, weights[j] * pairs[j * kChunk + i]);
        sum = hn::NegMulAdd(factor, hn::Load(df, solve + j * kChunk + n), sum);
      }
      hn::Store(sum, df, solve + i * kChunk + n);
    }
  }
  for (size_t i = 0; i < kChunk; ++i) {
    const auto weight = hn::Set(df, weights[i]);
    for (size_t n = 0; n < kChunk; n += kLanes) {
      float* const at = solve + i * kChunk + n;
      hn::Store(hn::Mul(hn::Mul(weight, hn::Load(df, after + n)), hn::Load(df, at)), df, at);
    }
  }
}

// Gated delta: the decays of one head, over keys that PairKeys has prepared.
HWY_INLINE void PrepareGatedDelta(const DecayArray& decay, const TokenArray& weight,
                                  const ChunkTokens& tokens, size_t head, ChunkScratch& chunk) {
  double sums[kChunk];
  HWY_ALIGN float weights[kChunk];
  HWY_ALIGN float after[kChunk];
  HWY_ALIGN float pairs[kChunk * kChunk];
  SumLogs(decay, tokens, head, 0, sums);
  LoadWeights(weight, tokens, head, weights);
  chunk.decay[0] = DecaysAfter(sums, tokens.count, after);
  for (size_t t = 0; t < kChunk; ++t) chunk.before[t] = static_cast<float>(sums[t]);
  ExpInPlace(chunk.before, kChunk);
  for (size_t i = 0; i < kChunk; ++i) {
    float* const row = pairs + i * kChunk;
    DecaysSince(sums, sums[i], kChunk, row);
    for (size_t j = 0; j < i; ++j) row[j] *= chunk.pairs[i * kChunk + j];
  }
  Solve(pairs, weights, after, chunk.solve);
}

// rows[r] *= alpha, out[r] = rows[r] . key for kRows rows of `width`.
template <size_t kRows>
HWY_INLINE void DecayAndDot(const float* alpha, const float* key, size_t width, float* rows,
                            float* out) {
  const Floats df;
  FloatVec sums[kRows];
  for (size_t r = 0; r < kRows; ++r) sums[r] = hn::Zero(df);
  for (size_t d = 0; d < width; d += kLanes) {
    const auto factor = hn::Load(df, alpha + d);
    const auto with = hn::Load(df, key + d);
    HWY_UNROLL(4)
    for (size_t r = 0; r < kRows; ++r) {
      const auto row = hn::Mul(factor, hn::Load(df, rows + r * width + d));
      hn::Store(row, df, rows + r * width + d);
      sums[r] = hn::MulAdd(with, row, sums[r]);
    }
  }
  for (size_t r = 0; r < kRows; ++r) out[r] = hn::GetLane(hn::SumOfLanes(df, sums[r]));
}

// KDA: chunk.keys as PackKeys left them become D_{last,t} k_t. While token by token decays what
// stands before it, pairs [i][j] = k_i D_ij k_j fall off. raw [16][width] is written, logs are read
// and then overwritten.
HWY_INLINE void PrepareKda(const TokenArray& weight, const ChunkTokens& tokens, size_t head,
                           size_t width, float* raw, float* logs, ChunkScratch& chunk) {
  const Floats df;
  std::copy_n(chunk.keys, kChunk * width, raw);
  for (size_t d = 0; d < width; d += kLanes) {
    LogSum sum;
    for (size_t t = 0; t < kChunk; ++t) {
      float* const at = logs + t * width + d;
      const FloatVec log = hn::Load(df, at);
      sum.Add(log);
      hn::Store(hn::Exp(df, log), df, at);
    }
    hn::Store(sum.Exp(), df, chunk.decay + d);
  }
  float* const alpha = logs;
  for (size_t i = 1; i < tokens.count; ++i) {
    size_t j = 0;
    for (; j + 4 <= i; j += 4) {
      DecayAndDot<4>(alpha + i * width, raw + i * width, width, chunk.keys + j * width,
                     chunk.pairs + i * kChunk + j);
    }
    for (; j < i; ++j) {
      DecayAndDot<1>(alpha + i * width, raw + i * width, width, chunk.keys + j * width,
                     chunk.pairs + i * kChunk + j);
    }
  }
  for (size_t d = 0; d < width; d += kLanes) {
    FloatVec product = hn::Set(df, 1.0f);
    for (size_t t = 0; t < kChunk; ++t) {
      float* const at = alpha + t * width + d;
      product = hn::Mul(product, hn::Load(df, at));
      hn::Store(hn::Mul(product, hn::Load(df, raw + t * width + d)), df, at);
    }
  }
  TransposeTokens(alpha, width, width, chunk.key_lanes);
  HWY_ALIGN float weights[kChunk];
  HWY_ALIGN float after[kChunk];
  LoadWeights(weight, tokens, head, weights);
  std::fill_n(after, kChunk, 1.0f);
  std::fill_n(chunk.before, kChunk, 1.0f);
  for (size_t i = tokens.count; i < kChunk; ++i) {
    std::fill_n(chunk.pairs + i * kChunk, kChunk, 0.0f);  // nothing was written there
  }
  Solve(chunk.pairs, weights, after, chunk.solve);
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_CHUNK_INL_H_
