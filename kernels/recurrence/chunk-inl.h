// What a chunk of at most 16 tokens does to any row of a state, made once and used for every row:
// keys and decays, and for the delta rules the inverse of their triangular system. Compiled once
// per Highway target. Include after foreach_target.h.
//
// With a_t = e^{g_t}:  D_ij = prod_{j<s<=i} a_s, always as a running product of factors <= 1.
#if defined(CISTERN_KERNELS_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_CHUNK_INL_H_
#undef CISTERN_KERNELS_CHUNK_INL_H_
#else
#define CISTERN_KERNELS_CHUNK_INL_H_
#endif

#include <algorithm>
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

// values[i] = e^{values[i]}; count is a multiple of 16.
HWY_INLINE void ExpInPlace(float* values, size_t count) {
  const Floats df;
  for (size_t i = 0; i < count; i += kLanes) {
    hn::Store(hn::Exp(df, hn::Load(df, values + i)), df, values + i);
  }
}

// alpha [16] = e^g of each token; 1 behind the last.
HWY_INLINE void LoadScalarDecays(const DecayArray& decay, const ChunkTokens& tokens, size_t head,
                                 float* alpha) {
  const float rate = RateOf(decay, head);
  for (size_t t = 0; t < kChunk; ++t) {
    alpha[t] = t < tokens.count ? rate * ElementAt(decay.log, tokens.first + t, head, 0) : 0;
  }
  ExpInPlace(alpha, kChunk);
}

// weights [16]: 0 behind the last token.
HWY_INLINE void LoadWeights(const TokenArray& weight, const ChunkTokens& tokens, size_t head,
                            float* weights) {
  for (size_t t = 0; t < kChunk; ++t) {
    weights[t] = t < tokens.count ? WeightAt(weight, tokens.first + t, head) : 0;
  }
}

// after[t] = D_{last,t}: how much of token t is left at the chunk's end. Returns D_{last,0} a_0.
HWY_INLINE float DecaysAfter(const float* alpha, size_t count, float* after) {
  float product = 1;
  for (size_t t = count; t-- > 0;) {
    after[t] = product;
    product *= alpha[t];
  }
  for (size_t t = count; t < kChunk; ++t) after[t] = 0;
  return product;
}

// Scalar decay: values are scaled by b_t D_{last,t}, keys stay as they are.
HWY_INLINE void PrepareScalar(const DecayArray& decay, const TokenArray& weight,
                              const ChunkTokens& tokens, size_t head, ChunkScratch& chunk) {
  HWY_ALIGN float alpha[kChunk];
  HWY_ALIGN float weights[kChunk];
  LoadScalarDecays(decay, tokens, head, alpha);
  LoadWeights(weight, tokens, head, weights);
  chunk.decay[0] = DecaysAfter(alpha, tokens.count, chunk.scale);
  for (size_t t = 0; t < kChunk; ++t) chunk.scale[t] *= weights[t];
}

// alpha [16][width] = e^g of each token and channel; 1 behind the last token and the last channel.
HWY_INLINE void LoadChannelDecays(const DecayArray& decay, const ChunkTokens& tokens, size_t head,
                                  size_t key_dim, size_t width, float* alpha) {
  const Floats df;
  const auto rate = hn::Set(df, RateOf(decay, head));
  for (size_t t = 0; t < kChunk; ++t) {
    float* const row = alpha + t * width;
    const bool there = t < tokens.count;
    LoadFloats(there ? decay.log.At(tokens.first + t, head) : nullptr, decay.log.type,
               there ? key_dim : 0, width, row);
    for (size_t d = 0; d < width; d += kLanes) {
      hn::Store(hn::Exp(df, hn::Mul(rate, hn::Load(df, row + d))), df, row + d);
    }
  }
}

// Diagonal decay: keys [16][width] become D_{last,t} k_t; values are scaled by b_t.
HWY_INLINE void PrepareDiagonal(const float* alpha, const TokenArray& weight,
                                const ChunkTokens& tokens, size_t head, size_t width,
                                ChunkScratch& chunk) {
  const Floats df;
  for (size_t d = 0; d < width; d += kLanes) {
    FloatVec product = hn::Set(df, 1.0f);
    for (size_t t = tokens.count; t-- > 0;) {
      float* const key = chunk.keys + t * width + d;
      hn::Store(hn::Mul(product, hn::Load(df, key)), df, key);
      product = hn::Mul(product, hn::Load(df, alpha + t * width + d));
    }
    hn::Store(product, df, chunk.decay + d);
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
      for (size_t j = i + 1; j < kChunk; ++j) {
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
  HWY_ALIGN float alpha[kChunk];
  HWY_ALIGN float weights[kChunk];
  HWY_ALIGN float after[kChunk];
  HWY_ALIGN float between[kChunk] = {};  // D_ij for the row i under way
  HWY_ALIGN float pairs[kChunk * kChunk];
  LoadScalarDecays(decay, tokens, head, alpha);
  LoadWeights(weight, tokens, head, weights);
  chunk.decay[0] = DecaysAfter(alpha, tokens.count, after);
  float product = 1;
  for (size_t i = 0; i < kChunk; ++i) {
    product *= alpha[i];
    chunk.before[i] = product;
    for (size_t j = 0; j < kChunk; ++j) {
      between[j] *= alpha[i];
      pairs[i * kChunk + j] = between[j] * chunk.pairs[i * kChunk + j];
    }
    between[i] = 1;
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
// stands before it, pairs [i][j] = k_i D_ij k_j fall off. raw [16][width] is written, alpha is read
// and then overwritten.
HWY_INLINE void PrepareKda(const TokenArray& weight, const ChunkTokens& tokens, size_t head,
                           size_t width, float* raw, float* alpha, ChunkScratch& chunk) {
  const Floats df;
  std::copy_n(chunk.keys, kChunk * width, raw);
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
    hn::Store(product, df, chunk.decay + d);
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
