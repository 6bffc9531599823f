// Time that never jumps: deadlines and timers inside a process count on it, not on the wall clock.
#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace cistern::transport {

using MonoTime = std::chrono::steady_clock::time_point;

inline constexpr MonoTime kNever = MonoTime::max();

inline MonoTime MonoNow() { return std::chrono::steady_clock::now(); }

// `from` plus `delay`. A negative delay is none; more than a year is for ever.
inline MonoTime After(MonoTime from, absl::Duration delay) {
  if (delay > absl::Hours(24 * 365)) return kNever;
  if (delay < absl::ZeroDuration()) return from;
  return from + std::chrono::nanoseconds(absl::ToInt64Nanoseconds(delay));
}

}  // namespace cistern::transport
