#include "storage/policy/eviction_policy.h"

#include <algorithm>

#include "absl/base/macros.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "storage/policy/lru_policy.h"
#include "storage/policy/marconi_policy.h"
#include "storage/policy/s3fifo_policy.h"
#include "storage/policy/value_policy.h"

namespace cistern::storage {

// Changes children or pins and tells the policy if that makes the block one that may go, or no
// longer.
template <typename Change>
void EvictionPolicy::Alter(Slot slot, Change change) {
  Entry& entry = at(slot);
  const bool was_open = entry.open();
  change(entry);
  if (entry.open() == was_open) return;
  if (was_open) {
    Closed(slot);
  } else {
    Opened(slot);
  }
}

Slot EvictionPolicy::Insert(const PolicyBlock& block, std::optional<Slot> parent) {
  ABSL_ASSERT(block.bytes > 0);
  const Slot slot = entries_.Take();
  ++size_;
  Entry& entry = at(slot);
  entry.key = block.key;
  entry.density = static_cast<float>(block.cost / static_cast<double>(block.bytes));
  entry.last_use = ++age_->uses;
  if (parent.has_value()) {
    entry.parent = *parent;
    Alter(*parent, [](Entry& e) { ++e.children; });
    at(*parent).followed = 1;
    Followed(*parent);
  }
  Entered(slot, block.name == 0 ? block.key : block.name);
  Opened(slot);
  return slot;
}

void EvictionPolicy::Hit(Slot slot) {
  Entry& entry = at(slot);
  entry.last_use = ++age_->uses;
  if (entry.hits < kMaxHits) ++entry.hits;
  Used(slot);
}

void EvictionPolicy::Follow(Slot slot) {
  at(slot).followed = 1;
  Followed(slot);
}

void EvictionPolicy::Pin(Slot slot) {
  Alter(slot, [](Entry& e) { ++e.pins; });
}

void EvictionPolicy::Unpin(Slot slot) {
  ABSL_ASSERT(at(slot).pins > 0);
  Alter(slot, [](Entry& e) { --e.pins; });
}

std::optional<Slot> EvictionPolicy::Victim() {
  const Slot victim = Choose();
  if (victim == kNoSlot) return std::nullopt;
  ABSL_ASSERT(at(victim).open());
  return victim;
}

void EvictionPolicy::Take(Slot slot, bool chosen, uint64_t name) {
  ABSL_ASSERT(at(slot).children == 0);
  Remove(slot, chosen ? Exit::kChosen : Exit::kTaken, name);
}

void EvictionPolicy::Erase(Slot slot) {
  ABSL_ASSERT(at(slot).children == 0);
  Remove(slot, Exit::kErased, 0);
}

uint64_t EvictionPolicy::Worth(Slot slot) const {
  return std::clamp<uint64_t>(WorthOf(at(slot)), 1, kMaxWorth);
}

void EvictionPolicy::Remove(Slot slot, Exit exit, uint64_t name) {
  if (at(slot).open()) Closed(slot);
  Left(slot, exit, name);
  const Slot above = at(slot).parent;
  entries_.Give(slot);
  --size_;
  if (above != kNoSlot) Alter(above, [](Entry& e) { --e.children; });
}

absl::StatusOr<std::unique_ptr<EvictionPolicy>> MakeEvictionPolicy(absl::string_view name,
                                                                   PolicyAge* shared) {
  if (name == "value") return std::make_unique<ValuePolicy>(shared);
  if (name == "lru") return std::make_unique<LruPolicy>(shared);
  if (name == "s3fifo") return std::make_unique<S3FifoPolicy>(shared);
  if (name == "marconi")
    return std::make_unique<MarconiPolicy>(MarconiPolicy::kDefaultAlpha, shared);
  return absl::InvalidArgumentError(absl::StrCat("no eviction policy '", name, "'; there are ",
                                                 absl::StrJoin(EvictionPolicyNames(), ", ")));
}

std::vector<absl::string_view> EvictionPolicyNames() {
  return {"value", "lru", "s3fifo", "marconi"};
}

}  // namespace cistern::storage
