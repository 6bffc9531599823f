#include "tools/bench/states/published_forms.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tools/bench/states/published_forms.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tools/bench/states/ring-inl.h"
#include "tools/bench/states/steps-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

void StepItems(const RecurrenceShape& shape, std::span<const tools::StepItem> items,
               std::span<float> scratch) {
  StepWork work(shape, scratch.data());
  const bool delta = IsDelta(shape.recurrence);
  for (const tools::StepItem& item : items) {
    if (item.out == nullptr) {
      delta ? StepOne<true, false>(work, item) : StepOne<false, false>(work, item);
    } else {
      delta ? StepOne<true, true>(work, item) : StepOne<false, true>(work, item);
    }
  }
  hwy::FlushStream();
}

void RingItems(const RecurrenceShape& shape, std::span<const DecodeItem> items,
               std::span<float> scratch) {
  RingWork work(shape, scratch.data());
  for (const DecodeItem& item : items) {
    for (uint32_t head = 0; head < shape.num_heads; ++head) {
      IsDelta(shape.recurrence) ? RingHead<true, true>(work, item, head)
                                : RingHead<false, true>(work, item, head);
    }
  }
}

void FoldItemsThroughRing(const RecurrenceShape& shape, std::span<const FoldItem> items, float* u,
                          std::span<float> scratch) {
  RingWork work(shape, scratch.data());
  for (const FoldItem& item : items) {
    for (uint32_t head = 0; head < shape.num_heads; ++head)
      FoldHeadThroughRing(work, item, u, head);
  }
  hwy::FlushStream();
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(StepItems);
HWY_EXPORT(RingItems);
HWY_EXPORT(FoldItemsThroughRing);

}  // namespace cistern::kernels

namespace cistern::tools {

namespace hk = kernels;

size_t StepScratchFloats(const hk::RecurrenceShape& shape) {
  const size_t width = hk::PaddedWidth(shape.key_dim);
  return 4 * width + hk::PaddedWidth(shape.value_dim) + shape.head_floats() +
         hk::ScratchCutter::kAlignFloats;
}

void RunSteps(const hk::RecurrenceShape& shape, std::span<const StepItem> items,
              std::span<float> scratch) {
  using namespace hk;  // NOLINT: the dispatch table is there
  HWY_DYNAMIC_DISPATCH(StepItems)(shape, items, scratch);
}

size_t RingScratchFloats(const hk::RecurrenceShape& shape) {
  return (3 * 16 + 1 + size_t{4} * kRingNew) * hk::PaddedWidth(shape.key_dim) + 256 +
         hk::ScratchCutter::kAlignFloats;
}

void RunRing(const hk::RecurrenceShape& shape, std::span<const hk::DecodeItem> items,
             std::span<float> scratch) {
  using namespace hk;  // NOLINT: the dispatch table is there
  HWY_DYNAMIC_DISPATCH(RingItems)(shape, items, scratch);
}

void FoldThroughRing(const hk::RecurrenceShape& shape, std::span<const hk::FoldItem> items,
                     float* u, std::span<float> scratch) {
  using namespace hk;  // NOLINT: the dispatch table is there
  HWY_DYNAMIC_DISPATCH(FoldItemsThroughRing)(shape, items, u, scratch);
}

}  // namespace cistern::tools
#endif  // HWY_ONCE
