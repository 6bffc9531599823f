// e^x of decays, compiled once per Highway target. Include after foreach_target.h.
//
// Why not hn::Exp: a head of KDA takes 2048 of them a chunk, Mamba-1 one for each element and
// token, and this one takes less than half the time. Both err by about one unit in the last place.
#if defined(CISTERN_KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_EXP_INL_H_
#undef CISTERN_KERNELS_EXP_INL_H_
#else
#define CISTERN_KERNELS_EXP_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// x up to 88. 0 below -87.3, where float32 has no normal numbers left, -infinity and NaN included.
//
// x = n ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q fitted for the least relative error of
// e^r, 4e-9; n goes into the exponent.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpOfLog(D df, V x) {
  const hn::RebindToSigned<D> di;
  const auto magic = hn::Set(df, 12582912.0f);  // 1.5 * 2^23: added, it rounds to a whole number,
                                                // which then stands in the lowest bits
  const auto shifted = hn::MulAdd(x, hn::Set(df, 1.44269504f), magic);
  const auto n = hn::Sub(shifted, magic);
  // ln 2 in two parts; n times the first is exact.
  const auto high = hn::NegMulAdd(n, hn::Set(df, 0.693359375f), x);
  const auto r = hn::NegMulAdd(n, hn::Set(df, -2.12194440e-4f), high);
  auto q = hn::Set(df, 0.00138145359f);
  q = hn::MulAdd(q, r, hn::Set(df, 0.00836874545f));
  q = hn::MulAdd(q, r, hn::Set(df, 0.0416683927f));
  q = hn::MulAdd(q, r, hn::Set(df, 0.166665211f));
  q = hn::MulAdd(q, r, hn::Set(df, 0.49999994f));
  const auto power = hn::Add(hn::MulAdd(q, hn::Mul(r, r), r), hn::Set(df, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const auto scaled = hn::BitCast(df, hn::Add(hn::BitCast(di, power), exponent));
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(df, -87.3f)), scaled);
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_EXP_INL_H_
