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

#include "hwy/highway.h"
#include "kernels/recurrence/elements.h"
#include "kernels/recurrence/exp-inl.h"
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
    hn::Store(ExpOfLog(df, hn::Load(df, values + i)), df, values + i);
  }
}

// Sums of the g of all tokens up to each, in two floats: what is lost where two large sums are
// subtracted is in the second.
template <size_t kTokens>
struct LogSums {
  HWY_ALIGN float high[kTokens];
  HWY_ALIGN float low[kTokens];

  double At(size_t token) const { return double{high[token]} + low[token]; }
};

// Sets sums from `at` on, one chunk: `before` and the g of all the chunk's tokens up to each;
// behind the last, of all. No less than kLeastLog is added for a token: e^g is 0 far above it, and
// differences of two sums stay numbers. Returns the last sum.
template <size_t kTokens>
HWY_INLINE double SumLogs(const DecayArray& decay, const ChunkTokens& tokens, size_t head,
                          double before, size_t at, LogSums<kTokens>& sums) {
  const double rate = RateOf(decay, head);
  for (size_t t = 0; t < kChunk; ++t) {
    if (t < tokens.count) {
      before += std::max(rate * ElementAt(decay.log, tokens.first + t, head, 0), kLeastLog);
    }
    sums.high[at + t] = static_cast<float>(before);
    sums.low[at + t] = static_cast<float>(before - sums.high[at + t]);
  }
  return before;
}

// out[i] = D_ti: what is left of token i, where token t ends. 1 for later tokens. count is a
// multiple of 16.
template <size_t kTokens>
HWY_INLINE void DecaysSince(const LogSums<kTokens>& sums, size_t t, size_t count, float* out) {
  const Floats df;
  const auto high = hn::Set(df, sums.high[t]), low = hn::Set(df, sums.low[t]);
  for (size_t i = 0; i < count; i += kLanes) {
    const auto between = hn::Add(hn::Sub(high, hn::Load(df, sums.high + i)),
                                 hn::Sub(low, hn::Load(df, sums.low + i)));
    hn::Store(ExpOfLog(df, hn::Min(between, hn::Zero(df))), df, out + i);
  }
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
HWY_INLINE float DecaysAfter(const LogSums<kChunk>& sums, size_t count, float* after) {
  DecaysSince(sums, kChunk - 1, kChunk, after);
  for (size_t t = count; t < kChunk; ++t) after[t] = 0;
  return static_cast<float>(std::exp(sums.At(kChunk - 1)));
}

// Scalar decay: values are scaled by b_t D_{last,t}, keys stay as they are.
HWY_INLINE void PrepareScalar(const DecayArray& decay, const TokenArray& weight,
                              const ChunkTokens& tokens, size_t head, ChunkScratch& chunk) {
  LogSums<kChunk> sums;
  HWY_ALIGN float weights[kChunk];
  SumLogs(decay, tokens, head, 0, 0, sums);
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
    const FloatVec decay = ExpOfLog(Floats(), sum);
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
        hn::Store(hn::Mul(ExpOfLog(df, after.sum), hn::Load(df, key)), df, key);
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
  DotBlock(chunk.keys, width, chunk.key_lanes, width, chunk.pairs);
}

// solve [i][t] = T[t][i] b_i after_t with T = (I + L)^-1, L[i][j] = b_i pairs[i][j] for j < i: what
// row i of the values that are not explained yet adds to the t-th update.
HWY_INLINE void Solve(const float* pairs, const float* weights, const float* after, float* solve) {
  const Floats df;
  HWY_ALIGN float factors[kChunk * kChunk];
  for (size_t i = 0; i < kChunk; ++i) {
    const auto weight = hn::Set(df, weights[i]);
    for (size_t n = i * kChunk; n < (i + 1) * kChunk; n += kLanes) {
      hn::Store(hn::Mul(weight, hn::Load(df, pairs + n)), df, factors + n);
      hn::Store(hn::Zero(df), df, solve + n);
    }
    solve[i * kChunk + i] = 1;
  }
  // A row that is finished goes into all rows before it at once: they do not wait for each other.
  for (size_t j = kChunk; j-- > 1;) {
    for (size_t n = 0; n < kChunk; n += kLanes) {
      const FloatVec row = hn::Load(df, solve + j * kChunk + n);
      for (size_t i = j; i-- > 0;) {
        float* const at = solve + i * kChunk + n;
        const auto factor = hn::Set(df, factors[j * kChunk + i]);
        hn::Store(hn::NegMulAdd(factor, row, hn::Load(df, at)), df, at);
      }
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
  LogSums<kChunk> sums;
  HWY_ALIGN float weights[kChunk];
  HWY_ALIGN float after[kChunk];
  HWY_ALIGN float pairs[kChunk * kChunk];
  SumLogs(decay, tokens, head, 0, 0, sums);
  LoadWeights(weight, tokens, head, weights);
  chunk.decay[0] = DecaysAfter(sums, tokens.count, after);
  std::copy_n(sums.high, kChunk, chunk.before);
  ExpInPlace(chunk.before, kChunk);
  for (size_t i = 0; i < kChunk; ++i) {
    float* const row = pairs + i * kChunk;
    DecaysSince(sums, i, kChunk, row);
    for (size_t j = 0; j < i; ++j) row[j] *= chunk.pairs[i * kChunk + j];
  }
  Solve(pairs, weights, after, chunk.solve);
}

// parts[i * kB + j] [kLanes] = products of a[i] and b[j], summed up to one vector.
template <size_t kA, size_t kB>
HWY_INLINE void PairTile(const float* a, const float* b, size_t width, float* parts) {
  const Floats df;
  constexpr size_t kRows = kA > 2 && kLanes < 16 ? 2 : kA;  // 16 sums where there are 32 registers
  for (size_t first = 0; first < kA; first += kRows) {
    FloatVec sums[kRows][kB];
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t j = 0; j < kB; ++j) sums[i][j] = hn::Zero(df);
    }
    for (size_t d = 0; d < width; d += kLanes) {
      FloatVec with[kB];
      HWY_UNROLL(4)
      for (size_t j = 0; j < kB; ++j) with[j] = Held(hn::Load(df, b + j * width + d));
      HWY_UNROLL(4)
      for (size_t i = 0; i < kRows; ++i) {
        const FloatVec row = Held(hn::Load(df, a + (first + i) * width + d));
        HWY_UNROLL(4)
        for (size_t j = 0; j < kB; ++j) sums[i][j] = hn::MulAdd(row, with[j], sums[i][j]);
      }
    }
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t j = 0; j < kB; ++j) {
        hn::Store(sums[i][j], df, parts + ((first + i) * kB + j) * kLanes);
      }
    }
  }
}

// pairs [i][j] = since[i] . until[j] for i in the second half and j in the first of each run of
// 2 kHalf tokens.
template <size_t kHalf>
HWY_INLINE void PairHalves(const float* since, const float* until, size_t width, float* pairs) {
  const Floats df;
  constexpr size_t kSide = kHalf < 4 ? kHalf : 4, kSides = kHalf / kSide;
  constexpr size_t kTiles = kChunk / (2 * kHalf) * kSides * kSides;
  constexpr size_t kAtOnce = kHalf < 4 ? kTiles : 1;  // up to 16 pairs are summed together
  HWY_ALIGN float parts[kChunk * kLanes] = {};
  HWY_ALIGN float by_lane[kLanes * kChunk];
  HWY_ALIGN float sums[kChunk];
  const auto row_of = [](size_t tile) {
    return tile / (kSides * kSides) * 2 * kHalf + kHalf + tile / kSides % kSides * kSide;
  };
  const auto column_of = [](size_t tile) {
    return tile / (kSides * kSides) * 2 * kHalf + tile % kSides * kSide;
  };
  for (size_t first = 0; first < kTiles; first += kAtOnce) {
    for (size_t n = 0; n < kAtOnce; ++n) {
      PairTile<kSide, kSide>(since + row_of(first + n) * width,
                             until + column_of(first + n) * width, width,
                             parts + n * kSide * kSide * kLanes);
    }
    TransposeTokens(parts, kLanes, kLanes, by_lane);
    for (size_t at = 0; at < kChunk; at += kLanes) {
      FloatVec sum = hn::Load(df, by_lane + at);
      for (size_t lane = 1; lane < kLanes; ++lane) {
        sum = hn::Add(sum, hn::Load(df, by_lane + lane * kChunk + at));
      }
      hn::Store(sum, df, sums + at);
    }
    for (size_t n = 0; n < kAtOnce; ++n) {
      const size_t row = row_of(first + n), column = column_of(first + n);
      for (size_t i = 0; i < kSide; ++i) {
        for (size_t j = 0; j < kSide; ++j) {
          pairs[(row + i) * kChunk + column + j] = sums[(n * kSide + i) * kSide + j];
        }
      }
    }
  }
}

HWY_INLINE void MulRow(const float* by, size_t width, float* row) {
  const Floats df;
  for (size_t d = 0; d < width; d += kLanes) {
    hn::Store(hn::Mul(hn::Load(df, by + d), hn::Load(df, row + d)), df, row + d);
  }
}

// Joins runs of kHalf tokens to runs of twice as many. Of each run `alpha` has all decays in its
// first row; since [t] is k_t with all decays from the run's begin to t, until [t] with those after
// t.
template <size_t kHalf>
HWY_INLINE void JoinHalves(size_t width, float* alpha, float* since, float* until, float* pairs) {
  PairHalves<kHalf>(since, until, width, pairs);
  for (size_t first = 0; first < kChunk; first += 2 * kHalf) {
    const size_t second = first + kHalf;
    for (size_t t = 0; t < kHalf; ++t) {
      MulRow(alpha + second * width, width, until + (first + t) * width);
      MulRow(alpha + first * width, width, since + (second + t) * width);
    }
    MulRow(alpha + second * width, width, alpha + first * width);
  }
}

// KDA: chunk.keys as PackKeys left them become D_{last,t} k_t, and pairs [i][j] = k_i D_ij k_j.
// Runs of tokens are joined two and two: a pair falls off where its tokens meet, as a plain product
// of what both have decayed to until then. since [16][width] is written; logs are read and then
// overwritten.
HWY_INLINE void PrepareKda(const TokenArray& weight, const ChunkTokens& tokens, size_t head,
                           size_t width, float* since, float* logs, ChunkScratch& chunk) {
  const Floats df;
  for (size_t d = 0; d < width; d += kLanes) {
    LogSum sum;
    for (size_t t = 0; t < kChunk; ++t) {
      const size_t at = t * width + d;
      const FloatVec log = hn::Load(df, logs + at);
      sum.Add(log);
      const FloatVec alpha = ExpOfLog(df, log);
      hn::Store(alpha, df, logs + at);
      hn::Store(hn::Mul(alpha, hn::Load(df, chunk.keys + at)), df, since + at);
    }
    hn::Store(sum.Exp(), df, chunk.decay + d);
  }
  JoinHalves<1>(width, logs, since, chunk.keys, chunk.pairs);
  JoinHalves<2>(width, logs, since, chunk.keys, chunk.pairs);
  JoinHalves<4>(width, logs, since, chunk.keys, chunk.pairs);
  JoinHalves<8>(width, logs, since, chunk.keys, chunk.pairs);
  TransposeTokens(since, width, width, chunk.key_lanes);
  HWY_ALIGN float weights[kChunk];
  HWY_ALIGN float after[kChunk];
  LoadWeights(weight, tokens, head, weights);
  std::fill_n(after, kChunk, 1.0f);
  std::fill_n(chunk.before, kChunk, 1.0f);
  Solve(chunk.pairs, weights, after, chunk.solve);
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_CHUNK_INL_H_
