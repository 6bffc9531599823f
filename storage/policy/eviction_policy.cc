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
void EvictionPolicy::Alter(Entry& entry, Change change) {
  const bool was_open = entry.open();
  change(entry);
  if (entry.open() == was_open) return;
  if (was_open) {
    Closed(entry);
  } else {
    Opened(entry);
  }
}

void EvictionPolicy::Insert(const PolicyBlock& block, std::optional<uint64_t> parent) {
  ABSL_ASSERT(block.bytes > 0);
  Entry* above = nullptr;
  if (parent.has_value()) {
    ABSL_ASSERT(Contains(*parent));
    above = &At(*parent);
  }
  ABSL_ASSERT(!Contains(block.key));
  Entry& entry = *pool_.Take();
  entry.key = block.key;
  entry.name = block.name == 0 ? block.key : block.name;
  entry.density = block.cost / static_cast<double>(block.bytes);
  entries_.insert(&entry);
  entry.parent = above;
  entry.last_use = ++age_->uses;
  if (above != nullptr) {
    Alter(*above, [](Entry& e) { ++e.children; });
    above->followed = true;
    Followed(*above);
  }
  Entered(entry);
  Opened(entry);
}

void EvictionPolicy::Hit(uint64_t key) {
  Entry& entry = At(key);
  const uint64_t previous_use = entry.last_use;
  entry.last_use = ++age_->uses;
  ++entry.hits;
  Used(entry, previous_use);
}

void EvictionPolicy::Follow(uint64_t key) {
  Entry& entry = At(key);
  entry.followed = true;
  Followed(entry);
}

void EvictionPolicy::Pin(uint64_t key) {
  Alter(At(key), [](Entry& e) { ++e.pins; });
}

void EvictionPolicy::Unpin(uint64_t key) {
  Entry& entry = At(key);
  ABSL_ASSERT(entry.pins > 0);
  Alter(entry, [](Entry& e) { --e.pins; });
}

std::optional<uint64_t> EvictionPolicy::Victim() {
  const Entry* victim = Choose();
  if (victim == nullptr) return std::nullopt;
  ABSL_ASSERT(victim->open());
  return victim->key;
}

std::optional<uint64_t> EvictionPolicy::Evict() {
  const std::optional<uint64_t> victim = Victim();
  if (victim.has_value()) Remove(At(*victim), Exit::kChosen);
  return victim;
}

void EvictionPolicy::Take(uint64_t key, bool chosen) {
  Entry& entry = At(key);
  ABSL_ASSERT(entry.children == 0);
  Remove(entry, chosen ? Exit::kChosen : Exit::kTaken);
}

void EvictionPolicy::Erase(uint64_t key) {
  Entry& entry = At(key);
  ABSL_ASSERT(entry.children == 0);
  Remove(entry, Exit::kErased);
}

uint64_t EvictionPolicy::Worth(uint64_t key) const {
  return std::clamp<uint64_t>(WorthOf(At(key)), 1, kMaxWorth);
}

void EvictionPolicy::Remove(Entry& entry, Exit exit) {
  if (entry.open()) Closed(entry);
  Left(entry, exit);
  Entry* above = entry.parent;
  entries_.erase(entry.key);
  pool_.Give(&entry);
  if (above != nullptr) Alter(*above, [](Entry& e) { --e.children; });
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
