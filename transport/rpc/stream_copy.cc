#include "transport/rpc/stream_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "transport/rpc/copy_slices.h"

namespace cistern::transport {
namespace {

constexpr size_t kLine = 64;

#if defined(__x86_64__)
// Whole lines; `to` begins one. Returns the bytes copied.
size_t StreamLines(const std::byte* from, std::byte* to, size_t bytes) {
  size_t i = 0;
  for (; i + kLine <= bytes; i += kLine) {
    const auto* in = reinterpret_cast<const __m128i*>(from + i);
    auto* out = reinterpret_cast<__m128i*>(to + i);
    const __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
    const __m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
  return i;
}
void Fence() { _mm_sfence(); }
#else
size_t StreamLines(const std::byte*, std::byte*, size_t) { return 0; }
void Fence() {}
#endif

void CopyUnfenced(const std::byte* from, std::byte* to, size_t bytes) {
  const size_t past = reinterpret_cast<uintptr_t>(to) % kLine;
  const size_t head = past == 0 ? 0 : std::min(bytes, kLine - past);
  std::memcpy(to, from, head);
  const size_t done = head + StreamLines(from + head, to + head, bytes - head);
  std::memcpy(to + done, from + done, bytes - done);
}

}  // namespace

void StreamCopy(const std::byte* from, std::byte* to, size_t bytes) {
  CopyUnfenced(from, to, bytes);
  Fence();
}

void StreamSlices(const std::vector<Slice>& from, const std::vector<MutableSlice>& to) {
  CopySlices(from, to, &CopyUnfenced);
  Fence();
}

void StreamSteps::Copy(uint64_t bytes) {
  while (bytes > 0 && from_next_ < from_.size() && to_next_ < to_.size()) {
    Slice& from = from_[from_next_];
    MutableSlice& to = to_[to_next_];
    const size_t step = std::min({static_cast<size_t>(bytes), from.size(), to.size()});
    CopyUnfenced(from.data(), to.data(), step);
    bytes -= step;
    from = from.subspan(step);
    to = to.subspan(step);
    if (from.empty()) ++from_next_;
    if (to.empty()) ++to_next_;
  }
}

void StreamSteps::Fence() { transport::Fence(); }

}  // namespace cistern::transport
