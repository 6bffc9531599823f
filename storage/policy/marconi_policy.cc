#include "storage/policy/marconi_policy.h"

#include <algorithm>
#include <array>

namespace cistern::storage {
namespace {

struct Range {
  double low = 0;
  double high = 0;

  void Widen(double value, bool first) {
    low = first ? value : std::min(low, value);
    high = first ? value : std::max(high, value);
  }
  double Scale(double value) const { return high > low ? (value - low) / (high - low) : 0; }
};

}  // namespace

Slot MarconiPolicy::Choose() {
  struct Drawn {
    Slot slot;
    uint64_t last_use;
    double recency;
    double efficiency;
  };
  std::array<Drawn, kSample> sample;
  const size_t drawn = std::min(candidates_.size(), kSample);
  const bool all = candidates_.size() <= kSample;
  Range recency;
  Range efficiency;
  for (size_t i = 0; i < drawn; ++i) {
    const Slot slot = all ? candidates_.at(i) : candidates_.Draw();
    const Entry& entry = at(slot);
    const auto age = static_cast<double>(now() + 1 - entry.last_use);
    sample[i] = {slot, entry.last_use, 1 / age, entry.density()};
    recency.Widen(sample[i].recency, i == 0);
    efficiency.Widen(sample[i].efficiency, i == 0);
  }
  const Drawn* victim = nullptr;
  double lowest = 0;
  for (size_t i = 0; i < drawn; ++i) {
    const double score =
        recency.Scale(sample[i].recency) + alpha_ * efficiency.Scale(sample[i].efficiency);
    const bool older = victim != nullptr && sample[i].last_use < victim->last_use;
    if (victim != nullptr && (score > lowest || (score == lowest && !older))) continue;
    victim = &sample[i];
    lowest = score;
  }
  return victim == nullptr ? kNoSlot : victim->slot;
}

}  // namespace cistern::storage
