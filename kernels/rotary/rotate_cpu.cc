#include "kernels/rotary/rotate.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rotary/rotate_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/rotary/rotate-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

void RotateRows(const RotateParams& params) {
  WithRotateKind(*params.turns, [&]<RotateKind kKind>() {
    for (uint32_t i = 0; i < params.num_rows; ++i) {
      RotateRow<kKind>(params.in + i * params.in_stride, *params.turns, i,
                       params.out + i * params.out_stride);
    }
  });
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(RotateRows);

void RotateCpu(const RotateParams& params) {
  if (params.turns->identity()) return RotateRef(params);
  HWY_DYNAMIC_DISPATCH(RotateRows)(params);
}

}  // namespace cistern::kernels
#endif  // HWY_ONCE
