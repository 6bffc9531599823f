#include "storage/policy/reuse_value_policy.h"

#include <algorithm>
#include <cmath>

namespace cistern::storage {
namespace {

constexpr double kFractions = 65536;  // a density is counted in parts of a FLOP per byte
constexpr double kMaxDensity = 0x1p64;

}  // namespace

uint64_t ReuseValuePolicy::Credit(const Entry& entry) {
  const double density = entry.block.cost / static_cast<double>(entry.block.bytes) * kFractions;
  const auto root = static_cast<uint64_t>(std::sqrt(std::clamp(density, 1.0, kMaxDensity)));
  const uint32_t uses = std::min(entry.hits + entry.past_uses, kMaxUses);
  const bool proven = uses > 0 || entry.followed;
  return root * (4 + uses) * (proven ? kProbation : 1);
}

void ReuseValuePolicy::Entered(Entry& entry) {
  const std::optional<uint32_t> uses = ghosts_.Take(entry.block.key);
  entry.past_uses = uses.has_value() ? *uses + 1 : 0;
  entry.priority = inflation_ + Credit(entry);
  if (entry.parent != nullptr) entry.parent->priority = inflation_ + Credit(*entry.parent);
}

void ReuseValuePolicy::Used(Entry& entry, uint64_t previous_use) {
  const bool queued = open_.erase({entry.priority, previous_use}) > 0;
  entry.priority = inflation_ + Credit(entry);
  if (queued) Opened(entry);
}

void ReuseValuePolicy::Opened(Entry& entry) {
  open_.emplace(std::pair(entry.priority, entry.last_use), &entry);
}

void ReuseValuePolicy::Closed(Entry& entry) { open_.erase({entry.priority, entry.last_use}); }

EvictionPolicy::Entry* ReuseValuePolicy::Choose() {
  return open_.empty() ? nullptr : open_.begin()->second;
}

void ReuseValuePolicy::Left(Entry& entry, bool evicted) {
  if (!evicted) return;
  inflation_ = std::max(inflation_, entry.priority);
  ghosts_.Add(entry.block.key, std::min(entry.hits + entry.past_uses, kMaxUses));
  ghosts_.Trim(kGhosts * size());
}

}  // namespace cistern::storage
