#include "kernels/gather/gather.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gather/gather_cpu.cc"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "kernels/copy-inl.h"
#include "kernels/runs.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

template <bool kStream>
HWY_INLINE void GatherWhole(const GatherParams& params) {
  const size_t row_bytes = params.target.row_bytes;
  const size_t row_stride = params.cache.row_stride;
  ForEachRun(params.target, params.cache, params.range,
             [&](std::byte* to, const std::byte* from, uint32_t, uint32_t, uint32_t num_rows) {
               if (row_stride == row_bytes) return CopyBytes<kStream>(from, to, num_rows * row_bytes);
               for (uint32_t i = 0; i < num_rows; ++i, from += row_stride, to += row_bytes) {
                 CopyBytes<kStream>(from, to, row_bytes);
               }
             });
}

template <bool kStream>
HWY_INLINE void GatherSplit(const GatherParams& params) {
  const RotarySource& k_r = params.k_r;
  const size_t row_bytes = params.target.row_bytes;
  const size_t row_stride = params.cache.row_stride;
  const size_t head = params.rotary_offset;
  const size_t tail = head + k_r.bytes;
  ForEachRun(params.target, params.cache, params.range,
             [&](std::byte* to, const std::byte* from, uint32_t layer, uint32_t token, uint32_t num_rows) {
               const std::byte* rotary = k_r.Row(layer, params.range.cache_token + token);
               for (uint32_t i = 0; i < num_rows; ++i) {
                 CopyBytes<kStream>(from, to, head);
                 CopyBytes<kStream>(rotary, to + head, k_r.bytes);
                 if (tail < row_bytes) CopyBytes<kStream>(from + tail, to + tail, row_bytes - tail);
                 from += row_stride, to += row_bytes, rotary += k_r.token_stride;
               }
             });
}

void GatherCached(const GatherParams& params) {
  params.k_r.rows == nullptr ? GatherWhole<false>(params) : GatherSplit<false>(params);
}

void GatherStream(const GatherParams& params) {
  params.k_r.rows == nullptr ? GatherWhole<true>(params) : GatherSplit<true>(params);
  hwy::FlushStream();
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(GatherCached);
HWY_EXPORT(GatherStream);

void GatherCpu(const GatherParams& params) {
  if (UseStream(params.stores, params.range, params.target.row_bytes)) {
    HWY_DYNAMIC_DISPATCH(GatherStream)(params);
  } else {
    HWY_DYNAMIC_DISPATCH(GatherCached)(params);
  }
}

}  // namespace cistern::kernels
#endif  // HWY_ONCE
