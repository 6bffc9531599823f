#include "kernels/scatter/scatter.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scatter/scatter_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/copy-inl.h"
#include "kernels/rotary/rotate-inl.h"
#include "kernels/runs.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

using ScatterRun = Run<const std::byte, std::byte>;

template <bool kStream>
HWY_INLINE void CopyRuns(const ScatterParams& params) {
  const size_t row_bytes = params.source.row_bytes;
  const size_t row_stride = params.cache.row_stride;
  const uint32_t ahead = RowsAhead(row_bytes);
  ForEachRun(params.source, params.cache, params.range,
             [&](const ScatterRun& run, const ScatterRun& next) {
               for (uint32_t i = 0; i < run.num_rows; ++i) {
                 PrefetchRow(run.segment_row, next.segment_row, i, ahead, run.num_rows, row_bytes,
                             row_bytes);
                 CopyBytes<kStream>(run.segment_row + i * row_bytes, run.cache_row + i * row_stride,
                                    row_bytes);
               }
             });
}

// A turned k_r goes through a small buffer, so that every byte of the destination is written once,
// in order.
template <bool kStream, RotateKind kKind>
HWY_INLINE void RotateRuns(const ScatterParams& params) {
  const Turns& turns = *params.turns;
  const size_t row_bytes = params.source.row_bytes;
  const size_t row_stride = params.cache.row_stride;
  const size_t head = params.rotary_offset;
  const size_t rotary = 2 * size_t{turns.dim()};
  const size_t tail = head + rotary;
  const uint32_t ahead = RowsAhead(row_bytes);
  ForEachRun(params.source, params.cache, params.range,
             [&](const ScatterRun& run, const ScatterRun& next) {
               const std::byte* from = run.segment_row;
               std::byte* to = run.cache_row;
               for (uint32_t i = 0; i < run.num_rows; ++i, from += row_bytes, to += row_stride) {
                 PrefetchRow(run.segment_row, next.segment_row, i, ahead, run.num_rows, row_bytes,
                             row_bytes);
                 CopyBytes<kStream>(from, to, head);
                 if constexpr (kStream) {
                   alignas(64) std::byte turned[2 * RotaryTable::kMaxDim];
                   RotateRow<kKind>(from + head, turns, run.token + i, turned);
                   CopyBytes<true>(turned, to + head, rotary);
                 } else {
                   RotateRow<kKind>(from + head, turns, run.token + i, to + head);
                 }
                 if (tail < row_bytes) CopyBytes<kStream>(from + tail, to + tail, row_bytes - tail);
               }
             });
}

template <bool kStream>
HWY_INLINE void ScatterAs(const ScatterParams& params) {
  if (params.turns == nullptr || params.turns->identity()) return CopyRuns<kStream>(params);
  WithRotateKind(*params.turns, [&]<RotateKind kKind>() { RotateRuns<kStream, kKind>(params); });
}

void ScatterCached(const ScatterParams& params) { ScatterAs<false>(params); }

void ScatterStream(const ScatterParams& params) {
  ScatterAs<true>(params);
  hwy::FlushStream();
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(ScatterCached);
HWY_EXPORT(ScatterStream);

void ScatterCpu(const ScatterParams& params) {
  if (UseStream(params.stores, params.range, params.source.row_bytes)) {
    HWY_DYNAMIC_DISPATCH(ScatterStream)(params);
  } else {
    HWY_DYNAMIC_DISPATCH(ScatterCached)(params);
  }
}

}  // namespace cistern::kernels
#endif  // HWY_ONCE
