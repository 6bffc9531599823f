#include "cacheserver/counters.h"

namespace cistern::cacheserver {

absl::string_view CallKindName(size_t kind) {
  static constexpr std::array<absl::string_view, kCallKinds> kNames = {
      "hello",   "register_model", "find",   "lease", "release", "read",
      "reserve", "write",          "commit", "abort", "link",    "admin"};
  return kind < kNames.size() ? kNames[kind] : "unknown";
}

void Counters::CountError(size_t kind, absl::StatusCode code) {
  const auto index = static_cast<size_t>(code);
  Bump(errors_[kind]
              [index < kStatusCodes ? index : static_cast<size_t>(absl::StatusCode::kUnknown)]);
}

uint64_t Counters::errors(size_t kind, absl::StatusCode code) const {
  return errors_[kind][static_cast<size_t>(code)].load(std::memory_order_relaxed);
}

uint64_t Counters::errors() const {
  uint64_t total = 0;
  for (const auto& kind : errors_) {
    for (const Count& count : kind) total += count.load(std::memory_order_relaxed);
  }
  return total;
}

}  // namespace cistern::cacheserver
