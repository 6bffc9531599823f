#include "storage/policy/value_policy.h"

#include <algorithm>
#include <cmath>

namespace cistern::storage {
namespace {

constexpr double kFractions = 65536;    // a density is counted in parts of a FLOP per byte
constexpr double kMaxDensity = 0x1p46;  // of those parts; 10^9 FLOPs per byte

}  // namespace

uint64_t ValuePolicy::Credit(const Entry& entry) {
  const double density = entry.density * kFractions;
  const auto root = static_cast<uint64_t>(std::sqrt(std::clamp(density, 1.0, kMaxDensity)));
  const uint32_t uses = std::min(entry.hits + entry.past_uses, kMaxUses);
  const bool proven = uses > 0 || entry.followed;
  return root * (4 + uses) * (proven ? kProbation : 1);
}

// Once inflation has come to the end of the scale, what was used last stays longest.
uint64_t ValuePolicy::PriorityNow(const Entry& entry) {
  return std::min(age().inflation + Credit(entry), kMaxWorth);
}

void ValuePolicy::Entered(Entry& entry) {
  const std::optional<uint32_t> uses = ghosts_.Take(entry.name);
  entry.past_uses = uses.has_value() ? *uses + 1 : 0;
  entry.priority = PriorityNow(entry);
}

void ValuePolicy::Used(Entry& entry, uint64_t previous_use) {
  const bool queued = open_.erase({entry.priority, previous_use}) > 0;
  entry.priority = PriorityNow(entry);
  if (queued) Opened(entry);
}

void ValuePolicy::Followed(Entry& entry) { Used(entry, entry.last_use); }

void ValuePolicy::Opened(Entry& entry) {
  open_.emplace(std::pair(entry.priority, entry.last_use), &entry);
}

void ValuePolicy::Closed(Entry& entry) { open_.erase({entry.priority, entry.last_use}); }

EvictionPolicy::Entry* ValuePolicy::Choose() {
  return open_.empty() ? nullptr : open_.begin()->second;
}

void ValuePolicy::Left(Entry& entry, Exit exit) {
  if (exit == Exit::kErased) return;
  if (exit == Exit::kChosen) age().inflation = std::max(age().inflation, entry.priority);
  ghosts_.Add(entry.name, std::min(entry.hits + entry.past_uses, kMaxUses));
  ghosts_.Trim(kGhosts * size());
}

}  // namespace cistern::storage
