// Vector form of rotate_row.h, compiled once per Highway target. Include after foreach_target.h.
//
// Interleaved pairs need no shuffle: seen as uint32 lanes, a is the low half and b the high half of
// a lane, and a bf16 is the upper half of an fp32. No fused multiply-add anywhere: it would change
// bits.
#if defined(CISTERN_KERNELS_ROTATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_ROTATE_INL_H_
#undef CISTERN_KERNELS_ROTATE_INL_H_
#else
#define CISTERN_KERNELS_ROTATE_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/rotary/rotate_row.h"
#include "kernels/rotary/turns.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using RotaryF32 = hn::CappedTag<float, 16>;
using RotaryU32 = hn::Rebind<uint32_t, RotaryF32>;
using RotaryU16 = hn::Rebind<uint16_t, RotaryF32>;

// The bf16 nearest to x in the upper half of each lane; the lower half is not cleared.
HWY_INLINE hn::Vec<RotaryU32> NearestBf16(hn::Vec<RotaryF32> x) {
  const RotaryU32 du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7fff)), odd);
  const auto nan = hn::BitCast(du, hn::VecFromMask(RotaryF32(), hn::IsNaN(x)));
  return hn::IfVecThenElse(nan, hn::Set(du, 0x7fc00000), rounded);
}

HWY_INLINE hn::Vec<RotaryF32> RoundedToBf16(hn::Vec<RotaryF32> x) {
  const RotaryU32 du;
  return hn::BitCast(RotaryF32(), hn::And(NearestBf16(x), hn::Set(du, 0xffff0000)));
}

// Turns N pairs (a, b); results as NearestBf16.
template <bool kBf16PerOp>
HWY_INLINE void TurnPairs(hn::Vec<RotaryF32> a, hn::Vec<RotaryF32> b, const float* cos,
                          const float* sin, hn::Vec<RotaryU32>& a_out, hn::Vec<RotaryU32>& b_out) {
  const RotaryF32 df;
  const auto c = hn::LoadU(df, cos);
  const auto s = hn::LoadU(df, sin);
  auto ac = hn::Mul(a, c), bs = hn::Mul(b, s);
  auto bc = hn::Mul(b, c), as = hn::Mul(a, s);
  if constexpr (kBf16PerOp) {
    ac = RoundedToBf16(ac), bs = RoundedToBf16(bs);
    bc = RoundedToBf16(bc), as = RoundedToBf16(as);
  }
  a_out = NearestBf16(hn::Sub(ac, bs));
  b_out = NearestBf16(hn::Add(bc, as));
}

// in, out: `pairs` pairs; pairs is a multiple of the lanes. Reads each pair before it writes it.
template <bool kBf16PerOp>
HWY_INLINE void RotateInterleaved(const uint16_t* in, const float* entry, uint32_t pairs,
                                  uint16_t* out) {
  const RotaryF32 df;
  const RotaryU32 du;
  const auto high = hn::Set(du, 0xffff0000);
  for (size_t i = 0; i < pairs; i += hn::Lanes(df)) {
    const auto both = hn::LoadU(du, reinterpret_cast<const uint32_t*>(in) + i);
    hn::Vec<RotaryU32> a, b;
    TurnPairs<kBf16PerOp>(hn::BitCast(df, hn::ShiftLeft<16>(both)),
                          hn::BitCast(df, hn::And(both, high)), entry + i, entry + pairs + i, a, b);
    hn::StoreU(hn::Or(hn::ShiftRight<16>(a), hn::And(b, high)), du,
               reinterpret_cast<uint32_t*>(out) + i);
  }
}

template <bool kBf16PerOp>
HWY_INLINE void RotateHalf(const uint16_t* in, const float* entry, uint32_t pairs, uint16_t* out) {
  const RotaryF32 df;
  const RotaryU32 du;
  const RotaryU16 d16;
  for (size_t i = 0; i < pairs; i += hn::Lanes(df)) {
    const auto a_in = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, in + i)));
    const auto b_in = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, in + pairs + i)));
    hn::Vec<RotaryU32> a, b;
    TurnPairs<kBf16PerOp>(hn::BitCast(df, a_in), hn::BitCast(df, b_in), entry + i,
                          entry + pairs + i, a, b);
    hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(a)), d16, out + i);
    hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(b)), d16, out + pairs + i);
  }
}

// Which of the four loops a segment's rows take, or the plain one when dim does not fill vectors.
enum class RotateKind : uint8_t { kPlain, kInterleaved, kInterleavedPerOp, kHalf, kHalfPerOp };

HWY_INLINE RotateKind KindOf(const Turns& turns) {
  if (turns.dim() / 2 % hn::Lanes(RotaryF32()) != 0) return RotateKind::kPlain;
  if (turns.style() == base::RotaryStyle::kHalf) {
    return turns.bf16_per_op() ? RotateKind::kHalfPerOp : RotateKind::kHalf;
  }
  return turns.bf16_per_op() ? RotateKind::kInterleavedPerOp : RotateKind::kInterleaved;
}

// Vector loads and stores here take any alignment.
template <RotateKind kKind>
HWY_INLINE void RotateRow(const std::byte* in, const Turns& turns, uint32_t token, std::byte* out) {
  const float* entry = turns.At(token);
  const uint32_t pairs = turns.dim() / 2;
  const auto* from = reinterpret_cast<const uint16_t*>(in);
  auto* to = reinterpret_cast<uint16_t*>(out);
  if constexpr (kKind == RotateKind::kPlain) RotateRowRef(in, turns, entry, out);
  if constexpr (kKind == RotateKind::kInterleaved) RotateInterleaved<false>(from, entry, pairs, to);
  if constexpr (kKind == RotateKind::kInterleavedPerOp)
    RotateInterleaved<true>(from, entry, pairs, to);
  if constexpr (kKind == RotateKind::kHalf) RotateHalf<false>(from, entry, pairs, to);
  if constexpr (kKind == RotateKind::kHalfPerOp) RotateHalf<true>(from, entry, pairs, to);
}

// Calls loop.template operator()<kind>() for the kind that the turns need: one branch per call,
// none per row.
template <typename Loop>
HWY_INLINE void WithRotateKind(const Turns& turns, const Loop& loop) {
  switch (KindOf(turns)) {
    case RotateKind::kPlain:
      return loop.template operator()<RotateKind::kPlain>();
    case RotateKind::kInterleaved:
      return loop.template operator()<RotateKind::kInterleaved>();
    case RotateKind::kInterleavedPerOp:
      return loop.template operator()<RotateKind::kInterleavedPerOp>();
    case RotateKind::kHalf:
      return loop.template operator()<RotateKind::kHalf>();
    case RotateKind::kHalfPerOp:
      return loop.template operator()<RotateKind::kHalfPerOp>();
  }
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_ROTATE_INL_H_
