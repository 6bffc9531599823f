#include "kernels/gather/gather.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gather/gather_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/copy-inl.h"
#include "kernels/runs.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

using GatherRun = Run<std::byte, const std::byte>;

template <bool kStream>
HWY_INLINE void GatherWhole(const GatherParams& params) {
  const size_t row_bytes = params.target.row_bytes;
  const size_t row_stride = params.cache.row_stride;
  const uint32_t ahead = RowsAhead(row_bytes);
  ForEachRun(
      params.target, params.cache, params.range, [&](const GatherRun& run, const GatherRun& next) {
        for (uint32_t i = 0; i < run.num_rows; ++i) {
          PrefetchRow(run.cache_row, next.cache_row, i, ahead, run.num_rows, row_stride, row_bytes);
          CopyBytes<kStream>(run.cache_row + i * row_stride, run.segment_row + i * row_bytes,
                             row_bytes);
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
  const uint32_t ahead = RowsAhead(row_bytes);
  ForEachRun(
      params.target, params.cache, params.range, [&](const GatherRun& run, const GatherRun& next) {
        const std::byte* rotary = k_r.Row(run.layer, params.range.cache_token + run.token);
        const std::byte* next_rotary = k_r.Row(next.layer, params.range.cache_token + next.token);
        const std::byte* const first_rotary = rotary;
        for (uint32_t i = 0; i < run.num_rows; ++i, rotary += k_r.token_stride) {
          const std::byte* from = run.cache_row + i * row_stride;
          std::byte* to = run.segment_row + i * row_bytes;
          PrefetchRow(run.cache_row, next.cache_row, i, ahead, run.num_rows, row_stride, head);
          PrefetchRow(first_rotary, next_rotary, i, ahead, run.num_rows, k_r.token_stride,
                      k_r.bytes);
          CopyBytes<kStream>(from, to, head);
          CopyBytes<kStream>(rotary, to + head, k_r.bytes);
          if (tail < row_bytes) CopyBytes<kStream>(from + tail, to + tail, row_bytes - tail);
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
