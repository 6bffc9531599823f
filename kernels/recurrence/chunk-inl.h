// What a chunk of at most 16 tokens does to any row of a state, made once and used for every row:
// keys and decays, and for the delta rules the inverse of their triangular system. Compiled once per
// Highway target. Include after foreach_target.h.
//
// With a_t = e^{g_t}:  D_ij = prod_{j<s<=i} a_s, always as a running product of factors <= 1.
#if defined(CISTERN_KERNELS_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_CHUNK_INL_H_
#undef CISTERN_KERNELS_CHUNK_INL_H_
#else
#define CISTERN_KERNELS_CHUNK_INL_H_
#endif

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

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_CHUNK_INL_H_
