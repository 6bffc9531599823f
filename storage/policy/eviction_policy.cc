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

// Calls are counted as far as worth is.
void EvictionPolicy::CountUse(Entry& entry) { entry.last_use = std::min(++age_->uses, kMaxWorth); }

Slot EvictionPolicy::Insert(const PolicyBlock& block, uint32_t owner) {
  ABSL_ASSERT(block.bytes > 0 && block.cost >= 0);
  const Slot slot = entries_.Take();
  ++size_;
  Entry& entry = at(slot);
  entry.owner = owner;
  entry.set_density(static_cast<float>(block.cost / static_cast<double>(block.bytes)));
  CountUse(entry);
  Entered(slot, block.key);
  return slot;
}

void EvictionPolicy::Hit(Slot slot) {
  Entry& entry = at(slot);
  CountUse(entry);
  if (entry.uses < kMaxCountedUses) ++entry.uses;
  Used(slot);
}

void EvictionPolicy::Follow(Slot slot) {
  at(slot).followed = 1;
  Followed(slot);
}

void EvictionPolicy::Open(Slot slot) {
  ABSL_ASSERT(!at(slot).open);
  at(slot).open = 1;
  Opened(slot);
}

void EvictionPolicy::Close(Slot slot) {
  ABSL_ASSERT(at(slot).open);
  at(slot).open = 0;
  Closed(slot);
}

std::optional<Slot> EvictionPolicy::Victim() {
  const Slot victim = Choose();
  if (victim == kNoSlot) return std::nullopt;
  ABSL_ASSERT(at(victim).open);
  return victim;
}

void EvictionPolicy::Take(Slot slot, bool chosen, uint64_t key) {
  Remove(slot, chosen ? Exit::kChosen : Exit::kTaken, key);
}

void EvictionPolicy::Erase(Slot slot) { Remove(slot, Exit::kErased, 0); }

uint64_t EvictionPolicy::Worth(Slot slot) const {
  return std::clamp<uint64_t>(WorthOf(at(slot)), 1, kMaxWorth);
}

void EvictionPolicy::Remove(Slot slot, Exit exit, uint64_t key) {
  if (at(slot).open) Close(slot);
  Left(slot, exit, key);
  entries_.Give(slot);
  --size_;
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
