// Copies inside rows, compiled once per Highway target. Include after foreach_target.h.
//
// kStream: non-temporal stores. A destination that will not be read soon is not loaded first and
// evicts nothing. The caller ends with hwy::FlushStream() before anybody else may read.
#if defined(CISTERN_KERNELS_COPY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_KERNELS_COPY_INL_H_
#undef CISTERN_KERNELS_COPY_INL_H_
#else
#define CISTERN_KERNELS_COPY_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Streams whole vectors of D while they fit; `to` is aligned to them. Returns the bytes copied.
template <class D>
HWY_INLINE size_t StreamVectors(D d, const uint8_t* from, uint8_t* to, size_t bytes) {
  const size_t n = hn::Lanes(d);
  size_t i = 0;
  for (; i + 4 * n <= bytes; i += 4 * n) {
    const auto v0 = hn::LoadU(d, from + i);
    const auto v1 = hn::LoadU(d, from + i + n);
    const auto v2 = hn::LoadU(d, from + i + 2 * n);
    const auto v3 = hn::LoadU(d, from + i + 3 * n);
    hn::Stream(v0, d, to + i);
    hn::Stream(v1, d, to + i + n);
    hn::Stream(v2, d, to + i + 2 * n);
    hn::Stream(v3, d, to + i + 3 * n);
  }
  for (; i + n <= bytes; i += n) hn::Stream(hn::LoadU(d, from + i), d, to + i);
  return i;
}

// Rows that are not multiples of a wide vector begin and end inside one: narrow stores up to its
// border. Two rows that share a line fill it one right after the other, so it still leaves as one
// line.
template <bool kStream>
HWY_INLINE void CopyBytes(const std::byte* from_bytes, std::byte* to_bytes, size_t bytes) {
  if constexpr (!kStream || HWY_TARGET == HWY_SCALAR) {  // SCALAR streams byte by byte
    std::memcpy(to_bytes, from_bytes, bytes);
    return;
  }
  const auto* from = reinterpret_cast<const uint8_t*>(from_bytes);
  auto* to = reinterpret_cast<uint8_t*>(to_bytes);
  const hn::ScalableTag<uint8_t> wide;
  const hn::CappedTag<uint8_t, 16> narrow;
  size_t done = 0;
  if (reinterpret_cast<uintptr_t>(to) % hn::Lanes(narrow) == 0) {
    const size_t past = reinterpret_cast<uintptr_t>(to) % hn::Lanes(wide);
    const size_t to_border = past == 0 ? 0 : std::min(bytes, hn::Lanes(wide) - past);
    done = StreamVectors(narrow, from, to, to_border);
    if (done == to_border) done += StreamVectors(wide, from + done, to + done, bytes - done);
    done += StreamVectors(narrow, from + done, to + done, bytes - done);
  }
  if (done < bytes) std::memcpy(to + done, from + done, bytes - done);
}

// How far ahead of the reader memory is asked for: runs are too short for the processor to learn
// where they go on. Measured from 2 to 8 KiB: below 4 it costs up to a fifth when a call moves one
// layer, above 5 nothing changes.
inline constexpr size_t kBytesAhead = 5 << 10;
inline constexpr size_t kMaxRowsAhead = 16;

HWY_INLINE uint32_t RowsAhead(size_t row_bytes) {
  return static_cast<uint32_t>(std::min(kMaxRowsAhead, (kBytesAhead + row_bytes - 1) / row_bytes));
}

// Asks for row i + ahead of a run: in this run, or else in the next one.
HWY_INLINE void PrefetchRow(const std::byte* run, const std::byte* next_run, uint32_t i,
                            uint32_t ahead, uint32_t num_rows, size_t row_stride,
                            size_t row_bytes) {
  i += ahead;
  const std::byte* row =
      i < num_rows ? run + i * row_stride : next_run + (i - num_rows) * row_stride;
  for (size_t at = 0; at < row_bytes; at += 64) hwy::Prefetch(row + at);
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_KERNELS_COPY_INL_H_
