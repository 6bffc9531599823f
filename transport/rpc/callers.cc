#include "transport/rpc/callers.h"

#include <algorithm>

namespace cistern::transport {
namespace {

constexpr int kCountBits = 12;
constexpr uint32_t kMost = (1u << kCountBits) - 1;

}  // namespace

Callers::Counted Callers::Counted::From(uint64_t word) {
  return {.stretch = word >> (2 * kCountBits),
          .before = static_cast<uint32_t>(word >> kCountBits) & kMost,
          .in_it = static_cast<uint32_t>(word) & kMost};
}

uint64_t Callers::Counted::word() const {
  return stretch << (2 * kCountBits) | uint64_t{before} << kCountBits | in_it;
}

Callers::Counted Callers::Counted::At(uint64_t now) const {
  if (now <= stretch) return *this;
  return {.stretch = now, .before = now == stretch + 1 ? in_it : 0, .in_it = 0};
}

void Callers::Called(Mark* mark, MonoTime now) {
  const uint64_t stretch = StretchOf(now);
  if (mark->stretch == stretch) return;
  mark->stretch = stretch;
  uint64_t word = counted_.load(std::memory_order_relaxed);
  Counted next;
  do {
    next = Counted::From(word).At(stretch);
    next.in_it = std::min(next.in_it + 1, kMost);
  } while (!counted_.compare_exchange_weak(word, next.word(), std::memory_order_relaxed));
}

uint32_t Callers::Count(MonoTime now) const {
  const Counted counted =
      Counted::From(counted_.load(std::memory_order_relaxed)).At(StretchOf(now));
  return std::max(counted.before, counted.in_it);
}

bool Callers::Crowded(MonoTime now) const {
  const uint32_t callers = Count(now);
  return callers + std::min(callers, lanes_) > processors_;
}

}  // namespace cistern::transport
