#include "tools/bench/memory_speed.h"

#include <cstring>

#include "absl/time/clock.h"

namespace cistern::tools {
namespace {
constexpr uint64_t kBytesPerRound = 64ull << 20;
}  // namespace

MemcpyMeter::MemcpyMeter(uint64_t region_bytes, uint64_t chunk_bytes)
    : chunk_bytes_(chunk_bytes), source_(region_bytes, 'a'), target_(region_bytes, 'b') {}

void MemcpyMeter::Round() {
  const absl::Time start = absl::Now();
  for (uint64_t done = 0; done < kBytesPerRound; done += chunk_bytes_) {
    if (next_ + chunk_bytes_ > source_.size()) next_ = 0;
    std::memcpy(target_.data() + next_, source_.data() + next_, chunk_bytes_);
    // The copy is seen: otherwise the compiler may drop it.
    asm volatile("" : : "r"(target_.data() + next_) : "memory");
    next_ += chunk_bytes_;
  }
  gbps_.Add(static_cast<double>(kBytesPerRound) / absl::ToDoubleNanoseconds(absl::Now() - start));
}

}  // namespace cistern::tools
