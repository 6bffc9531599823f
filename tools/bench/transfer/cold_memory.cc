#include "tools/bench/transfer/cold_memory.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <random>

#include <sys/mman.h>
#include <unistd.h>

namespace cistern::tools {
namespace {

constexpr uint64_t kCacheBytes = 32ull << 20;  // where the system does not tell

uint64_t SweepBytes() {
  const long told = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const uint64_t cache = std::max(kCacheBytes, told > 0 ? static_cast<uint64_t>(told) : 0);
  return std::min<uint64_t>(4 * cache, 1ull << 30);
}

using Words = uint64_t __attribute__((vector_size(32), aligned(8), may_alias));

}  // namespace

Memory::Memory(uint64_t bytes) : bytes_(bytes) {
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  madvise(at, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(at);
  std::memset(data_, 0, bytes);
}

Memory::~Memory() { munmap(data_, bytes_); }

uint64_t ReadOnce(std::span<const std::byte> bytes) {
  Words sums[4] = {};
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  for (; end - at >= 128; at += 128) {
    const auto* words = reinterpret_cast<const Words*>(at);
    sums[0] += words[0];
    sums[1] += words[1];
    sums[2] += words[2];
    sums[3] += words[3];
  }
  const Words all = sums[0] + sums[1] + sums[2] + sums[3];
  uint64_t sum = all[0] + all[1] + all[2] + all[3];
  for (; end - at >= 8; at += 8) {
    uint64_t word;
    std::memcpy(&word, at, sizeof(word));
    sum += word;
  }
  for (; at < end; ++at) sum += static_cast<uint64_t>(*at);
  return sum;
}

CacheSweep::CacheSweep() : region_(SweepBytes()) {}

void CacheSweep::Sweep() {
  const uint64_t sum = ReadOnce({region_.data(), region_.size()});
  asm volatile("" : : "r"(sum));  // the pass is made
}

Ring::Ring(uint64_t region_bytes, uint64_t piece_bytes)
    : piece_bytes_(piece_bytes),
      memory_(std::max(region_bytes, piece_bytes)),
      offsets_(memory_.size() / piece_bytes) {
  std::memset(memory_.data(), 0x5a, memory_.size());
  for (size_t i = 0; i < offsets_.size(); ++i) offsets_[i] = i * piece_bytes;
  std::shuffle(offsets_.begin(), offsets_.end(), std::mt19937_64(5));
}

std::span<std::byte> Ring::Next() {
  const uint64_t at = offsets_[next_];
  next_ = (next_ + 1) % offsets_.size();
  return {memory_.data() + at, piece_bytes_};
}

}  // namespace cistern::tools
