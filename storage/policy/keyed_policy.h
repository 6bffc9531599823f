// An eviction policy for who knows blocks by keys of his own.
//
// Cost     a hash look-up, then the policy's
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"

#include "storage/policy/eviction_policy.h"

namespace cistern::storage {

class KeyedPolicy {
 public:
  explicit KeyedPolicy(std::unique_ptr<EvictionPolicy> policy) : policy_(std::move(policy)) {}

  void Insert(const PolicyBlock& block, std::optional<uint64_t> parent) {
    std::optional<Slot> above;
    if (parent.has_value()) above = At(*parent);
    slots_[block.key] = policy_->Insert(block, above);
  }
  void Hit(uint64_t key) { policy_->Hit(At(key)); }
  void Follow(uint64_t key) { policy_->Follow(At(key)); }
  void Pin(uint64_t key) { policy_->Pin(At(key)); }
  void Unpin(uint64_t key) { policy_->Unpin(At(key)); }
  std::optional<uint64_t> Victim() {
    const std::optional<Slot> victim = policy_->Victim();
    return victim.has_value() ? std::optional(policy_->KeyOf(*victim)) : std::nullopt;
  }
  // Removes the victim and names it.
  std::optional<uint64_t> Evict() {
    const std::optional<uint64_t> victim = Victim();
    if (victim.has_value()) Take(*victim, /*chosen=*/true);
    return victim;
  }
  void Take(uint64_t key, bool chosen) { policy_->Take(Forget(key), chosen, key); }
  void Erase(uint64_t key) { policy_->Erase(Forget(key)); }
  uint64_t Worth(uint64_t key) const { return policy_->Worth(At(key)); }
  bool Contains(uint64_t key) const { return slots_.contains(key); }
  size_t size() const { return policy_->size(); }

 private:
  Slot At(uint64_t key) const { return slots_.find(key)->second; }
  Slot Forget(uint64_t key) {
    const auto it = slots_.find(key);
    const Slot slot = it->second;
    slots_.erase(it);
    return slot;
  }

  std::unique_ptr<EvictionPolicy> policy_;
  absl::flat_hash_map<uint64_t, Slot> slots_;
};

}  // namespace cistern::storage
