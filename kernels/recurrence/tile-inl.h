// Products of state rows with the tokens of a chunk, compiled once per Highway target. Include
// after foreach_target.h.
//
// A chunk has 16 tokens, short ones padded with zeros. Where tokens are summed over, they lie in
// rows ([16][K']); where each gets a result, in lanes ([K'][16]). K' is K rounded up to 16.
#if defined(CISTERN_KERNELS_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_TILE_INL_H_
#undef CISTERN_KERNELS_TILE_INL_H_
#else
#define CISTERN_KERNELS_TILE_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/bf16.h"
#include "kernels/recurrence/recurrence.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr size_t kChunk = 16;  // tokens
inline constexpr size_t kBlock = 16;  // state rows that are worked on at once: 8 KiB for K = 128

using Floats = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<Floats>;
inline constexpr size_t kLanes = hn::MaxLanes(Floats());
inline constexpr size_t kTokenVecs = kChunk / kLanes;
// Accumulators that fit the registers: 16 of 32, or 8 of 16.
inline constexpr size_t kDotRows = kLanes == 16 ? 16 : kLanes == 8 ? 4 : 2;
inline constexpr size_t kUpdateRows = 4;
inline constexpr size_t kUpdateVecs = kLanes == 16 ? 4 : 2;

// `v`, from now on in a register. GCC would rather load a vector again for each multiplication that
// it goes into, and where there are four of them, loads become what a tile waits for.
HWY_INLINE FloatVec Held(FloatVec v) {
#if HWY_ARCH_X86 && HWY_COMPILER_GCC && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
  asm("" : "+v"(v.raw));
#endif
  return v;
}

// What a head needs of each token lies far from what the head before it needed: no prefetcher of
// the processor's finds it. Asks for `width` elements of head `head`, tokens [first, first +
// count).
HWY_INLINE void AskForTokens(const TokenArray& tokens, size_t first, size_t count, size_t head,
                             size_t width) {
  if (tokens.data == nullptr) return;
  const size_t bytes = width * (tokens.type == ElementType::kBf16 ? 2 : 4);
  for (size_t t = first; t < first + count; ++t) {
    const std::byte* const at = tokens.At(t, head);
    for (size_t b = 0; b < bytes; b += 64) hwy::Prefetch(at + b);
  }
}

// y[r][t] = sum_d rows[r][d] w[d][t] for kDotRows rows. kAhead: asks for one line of `ahead` for
// each d.
template <bool kAhead>
HWY_INLINE void DotRows(const float* HWY_RESTRICT rows, size_t stride, const float* HWY_RESTRICT w,
                        size_t width, const float* ahead, float* HWY_RESTRICT y) {
  const Floats df;
  FloatVec sums[kDotRows][kTokenVecs];
  for (size_t r = 0; r < kDotRows; ++r) {
    for (size_t n = 0; n < kTokenVecs; ++n) sums[r][n] = hn::Zero(df);
  }
  for (size_t d = 0; d < width; ++d) {
    if constexpr (kAhead) hwy::Prefetch(ahead + d * 16);
    for (size_t n = 0; n < kTokenVecs; ++n) {
      const FloatVec tokens = hn::Load(df, w + d * kChunk + n * kLanes);
      HWY_UNROLL(16)
      for (size_t r = 0; r < kDotRows; ++r) {
        sums[r][n] = hn::MulAdd(hn::Set(df, rows[r * stride + d]), tokens, sums[r][n]);
      }
    }
  }
  for (size_t r = 0; r < kDotRows; ++r) {
    for (size_t n = 0; n < kTokenVecs; ++n) {
      hn::Store(sums[r][n], df, y + r * kChunk + n * kLanes);
    }
  }
}

// The K of nearly every model. 16 rows at a stride that is known take one register of addresses,
// not 16, which are more than there are.
inline constexpr size_t kUsualWidth = 128;

// DotRows for a block of 16 rows; kAhead: `ahead` is a block, too.
template <bool kAhead = false>
HWY_INLINE void DotBlock(const float* rows, size_t stride, const float* w, size_t width, float* y,
                         const float* ahead = nullptr) {
  const bool usual = stride == kUsualWidth && width == kUsualWidth;
  for (size_t r = 0; r < kBlock; r += kDotRows) {
    const float* const from = rows + r * stride;
    float* const to = y + r * kChunk;
    if (kAhead && r == 0) {
      usual ? DotRows<true>(from, kUsualWidth, w, kUsualWidth, ahead, to)
            : DotRows<true>(from, stride, w, width, ahead, to);
    } else {
      usual ? DotRows<false>(from, kUsualWidth, w, kUsualWidth, ahead, to)
            : DotRows<false>(from, stride, w, width, ahead, to);
    }
  }
}

// by_key[r] = rows[r] . key (kByKey only) and by_query[r] = rows[r] . query (kByQuery only) for 4
// rows. Asks for what lies `ahead` floats further, in the order of addresses: memory is a fifth
// faster than in the order in which tiles are read.
template <bool kByKey, bool kByQuery = true>
HWY_INLINE void AskFourRows(const float* rows, size_t stride, const float* key, const float* query,
                            size_t width, size_t ahead, float* by_key, float* by_query) {
  const Floats df;
  FloatVec keyed[4], queried[4];
  for (size_t r = 0; r < 4; ++r) keyed[r] = queried[r] = hn::Zero(df);
  for (size_t d = 0; d < width; d += kLanes) {
    const auto k = hn::Load(df, key + d);
    const auto q = kByQuery ? hn::Load(df, query + d) : k;
    HWY_UNROLL(4)
    for (size_t r = 0; r < 4; ++r) {
      const float* const at = rows + r * stride + d;
      hwy::Prefetch(rows + ahead + d * 4 + r * kLanes);
      const auto row = hn::LoadU(df, at);
      if constexpr (kByKey) keyed[r] = hn::MulAdd(row, k, keyed[r]);
      if constexpr (kByQuery) queried[r] = hn::MulAdd(row, q, queried[r]);
    }
  }
  for (size_t r = 0; r < 4; ++r) {
    if constexpr (kByKey) by_key[r] = hn::GetLane(hn::SumOfLanes(df, keyed[r]));
    if constexpr (kByQuery) by_query[r] = hn::GetLane(hn::SumOfLanes(df, queried[r]));
  }
}

// How the values lie that go into 16 rows.
enum class ValueOrder { kByToken, kByRow };  // [16 tokens][16 rows], [16 rows][16 tokens]

// One tile of UpdateBlock: kUpdateRows rows, kVecs vectors wide.
template <ValueOrder kOrder, size_t kVecs, bool kByChannel, bool kStream, bool kAhead>
HWY_INLINE void UpdateTile(const float* in, size_t in_stride, float* out, size_t out_stride,
                           const float* HWY_RESTRICT u, const float* HWY_RESTRICT k, size_t width,
                           const float* decay, size_t num_tokens, const float* ahead) {
  const Floats df;
  FloatVec sums[kUpdateRows][kVecs];
  HWY_UNROLL(4)
  for (size_t n = 0; n < kVecs; ++n) {
    const FloatVec factor = kByChannel ? hn::Load(df, decay + n * kLanes) : hn::Set(df, decay[0]);
    HWY_UNROLL(4)
    for (size_t r = 0; r < kUpdateRows; ++r) {
      if constexpr (kAhead) hwy::Prefetch(ahead + (n * kUpdateRows + r) * kLanes);
      sums[r][n] = hn::Mul(factor, hn::LoadU(df, in + r * in_stride + n * kLanes));
    }
  }
  for (size_t t = 0; t < num_tokens; ++t) {
    FloatVec keys[kVecs];
    HWY_UNROLL(4)
    for (size_t n = 0; n < kVecs; ++n) keys[n] = Held(hn::Load(df, k + t * width + n * kLanes));
    HWY_UNROLL(4)
    for (size_t r = 0; r < kUpdateRows; ++r) {
      const size_t at = kOrder == ValueOrder::kByToken ? t * kBlock + r : r * kChunk + t;
      const FloatVec value = hn::Set(df, u[at]);
      HWY_UNROLL(4)
      for (size_t n = 0; n < kVecs; ++n) sums[r][n] = hn::MulAdd(value, keys[n], sums[r][n]);
    }
  }
  HWY_UNROLL(4)
  for (size_t r = 0; r < kUpdateRows; ++r) {
    HWY_UNROLL(4)
    for (size_t n = 0; n < kVecs; ++n) {
      float* const to = out + r * out_stride + n * kLanes;
      if constexpr (kStream) {
        hn::Stream(sums[r][n], df, to);
      } else {
        hn::StoreU(sums[r][n], df, to);
      }
    }
  }
}

// out[r][d] = decay[d] in[r][d] + sum_t u(r, t) k[t][d] for 16 rows; out is in, or apart.
// kByChannel: decay [width], else one number. kStream: `out` is aligned to 64 and will not be read
// soon. kAhead: asks for what lies `ahead` floats further, in the order of addresses (see
// AskFourRows).
template <ValueOrder kOrder, bool kByChannel, bool kStream, bool kAhead>
HWY_INLINE void UpdateBlock(const float* in, size_t in_stride, float* out, size_t out_stride,
                            const float* u, const float* k, size_t width, const float* decay,
                            size_t num_tokens, size_t ahead) {
  constexpr size_t kWide = kUpdateVecs * kLanes;
  for (size_t r = 0; r < kBlock; r += kUpdateRows) {
    const float* const from = in + r * in_stride;
    float* const to = out + r * out_stride;
    const float* const values = kOrder == ValueOrder::kByToken ? u + r : u + r * kChunk;
    const float* const next = from + ahead;
    size_t d = 0;
    for (; d + kWide <= width; d += kWide) {
      UpdateTile<kOrder, kUpdateVecs, kByChannel, kStream, kAhead>(
          from + d, in_stride, to + d, out_stride, values, k + d, width,
          kByChannel ? decay + d : decay, num_tokens, next + kUpdateRows * d);
    }
    for (; d < width; d += kLanes) {
      UpdateTile<kOrder, 1, kByChannel, kStream, kAhead>(
          from + d, in_stride, to + d, out_stride, values, k + d, width,
          kByChannel ? decay + d : decay, num_tokens, next + kUpdateRows * d);
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
// columns[c] = column c of 4 columns of 4-byte elements, kLanes tokens from `from` on in its lanes.
HWY_INLINE void LoadColumns(const std::byte* from, size_t stride_bytes, FloatVec (&columns)[4]) {
  const Floats df;
  const hn::Repartition<uint64_t, Floats> d64;
  const auto lower = [&](FloatVec a, FloatVec b) {
    return hn::BitCast(df, hn::InterleaveLower(d64, hn::BitCast(d64, a), hn::BitCast(d64, b)));
  };
  const auto upper = [&](FloatVec a, FloatVec b) {
    return hn::BitCast(df, hn::InterleaveUpper(d64, hn::BitCast(d64, a), hn::BitCast(d64, b)));
  };
  FloatVec rows[4];  // block b of rows[j] is token 4 b + j's: 4 x 4 in each block is left to do
  HWY_UNROLL(4)
  for (size_t j = 0; j < 4; ++j) {
    const auto row = [&](size_t token) {
      return hn::LoadDup128(df, reinterpret_cast<const float*>(from + token * stride_bytes));
    };
    rows[j] = row(j);
    HWY_UNROLL(4)
    for (size_t b = 4; b < kLanes; b += 4) {
      const auto next = Held(row(j + b));  // GCC 12 cannot compile a masked one
      rows[j] = hn::IfThenElse(hn::FirstN(df, b), rows[j], next);
    }
  }
  const auto low01 = hn::InterleaveLower(df, rows[0], rows[1]);
  const auto low23 = hn::InterleaveLower(df, rows[2], rows[3]);
  const auto high01 = hn::InterleaveUpper(df, rows[0], rows[1]);
  const auto high23 = hn::InterleaveUpper(df, rows[2], rows[3]);
  columns[0] = lower(low01, low23);
  columns[1] = upper(low01, low23);
  columns[2] = lower(high01, high23);
  columns[3] = upper(high01, high23);
}
#endif

// out[d][t] = in[t][d] for 16 tokens; width is a multiple of 4.
HWY_INLINE void TransposeTokens(const float* HWY_RESTRICT in, size_t stride, size_t width,
                                float* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t d = 0; d < width; ++d) {
    for (size_t t = 0; t < kChunk; ++t) out[d * kChunk + t] = in[t * stride + d];
  }
#else
  for (size_t n = 0; n < kChunk; n += kLanes) {
    for (size_t d = 0; d < width; d += 4) {
      FloatVec columns[4];
      const auto* const from = reinterpret_cast<const std::byte*>(in + n * stride + d);
      LoadColumns(from, stride * sizeof(float), columns);
      HWY_UNROLL(4)
      for (size_t c = 0; c < 4; ++c) {
        hn::StoreU(columns[c], Floats(), out + (d + c) * kChunk + n);
      }
    }
  }
#endif
}

// out[r][t] = 16 bf16 of each of 16 tokens, `stride` elements apart.
HWY_INLINE void TransposeBf16(const std::byte* in, size_t stride, float* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t t = 0; t < kChunk; ++t) {
    for (size_t r = 0; r < kBlock; ++r) {
      uint16_t bits;
      std::memcpy(&bits, in + 2 * (t * stride + r), sizeof(bits));
      out[r * kChunk + t] = Bf16ToFloat(bits);
    }
  }
#else
  const Floats df;
  const hn::RebindToUnsigned<Floats> d32;
  const auto upper = hn::Set(d32, 0xffff0000u);
  for (size_t n = 0; n < kChunk; n += kLanes) {
    for (size_t r = 0; r < kBlock; r += 8) {
      FloatVec columns[4];  // two rows each
      LoadColumns(in + 2 * (n * stride + r), 2 * stride, columns);
      HWY_UNROLL(4)
      for (size_t c = 0; c < 4; ++c) {
        float* const to = out + (r + 2 * c) * kChunk + n;
        const auto both = hn::BitCast(d32, columns[c]);
        hn::StoreU(hn::BitCast(df, hn::ShiftLeft<16>(both)), df, to);
        hn::StoreU(hn::BitCast(df, hn::And(both, upper)), df, to + kChunk);
      }
    }
  }
#endif
}

// out[0, count) = the elements at `from` as float32, then zeros up to `padded`, a multiple of 16.
HWY_INLINE void LoadFloats(const std::byte* from, ElementType type, size_t count, size_t padded,
                           float* HWY_RESTRICT out) {
  const Floats df;
  size_t i = 0;
  if (type == ElementType::kBf16 && count > 0) {
    const hn::Rebind<uint16_t, Floats> d16;
    const hn::Rebind<uint32_t, Floats> d32;
    const auto* bits = reinterpret_cast<const uint16_t*>(from);
    for (; i + kLanes <= count; i += kLanes) {
      const auto wide = hn::PromoteTo(d32, hn::LoadU(d16, bits + i));
      hn::StoreU(hn::BitCast(df, hn::ShiftLeft<16>(wide)), df, out + i);
    }
    for (; i < count; ++i) out[i] = Bf16ToFloat(bits[i]);
  } else if (count > 0) {
    const auto* floats = reinterpret_cast<const float*>(from);
    for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(df, floats + i), df, out + i);
    for (; i < count; ++i) out[i] = floats[i];
  }
  for (; i < padded && i % kLanes != 0; ++i) out[i] = 0;
  for (; i < padded; i += kLanes) hn::StoreU(hn::Zero(df), df, out + i);
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_TILE_INL_H_
