#include "storage/policy/value_policy.h"

#include <algorithm>
#include <cmath>

namespace cistern::storage {
namespace {

constexpr double kFractions = 65536;    // a density is counted in parts of a FLOP per byte
constexpr double kMaxDensity = 0x1p46;  // of those parts; 10^9 FLOPs per byte

}  // namespace

uint32_t ValuePolicy::UsesOf(const Entry& entry) {
  return std::min(static_cast<uint32_t>(entry.uses), kMaxUses);
}

uint64_t ValuePolicy::Credit(const Entry& entry) {
  const double density = double{entry.density()} * kFractions;
  const auto root = static_cast<uint64_t>(std::sqrt(std::clamp(density, 1.0, kMaxDensity)));
  const uint32_t uses = UsesOf(entry);
  const bool proven = uses > 0 || entry.followed != 0;
  return root * (4 + uses) * (proven ? kProbation : 1);
}

// Once inflation has come to the end of the scale, what was used last stays longest.
uint64_t ValuePolicy::PriorityNow(const Entry& entry) {
  return std::min(age().inflation + Credit(entry), kMaxWorth);
}

void ValuePolicy::Entered(Slot slot, uint64_t key) {
  Entry& entry = at(slot);
  const std::optional<uint32_t> uses = ghosts_.Take(key);
  entry.uses = uses.has_value() ? *uses + 1 : 0;
  entry.priority = PriorityNow(entry);
}

void ValuePolicy::Used(Slot slot) {
  Entry& entry = at(slot);
  entry.priority = PriorityNow(entry);
  if (entry.open) open_.Update(slot);
}

void ValuePolicy::Left(Slot slot, Exit exit, uint64_t key) {
  if (exit == Exit::kErased) return;
  const Entry& entry = at(slot);
  if (exit == Exit::kChosen) age().inflation = std::max<uint64_t>(age().inflation, entry.priority);
  ghosts_.Add(key, UsesOf(entry));
  ghosts_.Trim(kGhosts * size());
}

}  // namespace cistern::storage
