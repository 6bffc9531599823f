#include "kernels/target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/target.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

const char* TargetHere() { return hwy::TargetName(HWY_TARGET); }

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(TargetHere);

const char* CpuTarget() { return HWY_DYNAMIC_DISPATCH(TargetHere)(); }

}  // namespace cistern::kernels
#endif  // HWY_ONCE
