// An eviction policy for who knows blocks by keys of his own and has them in trees.
//
// A block is of use only while its parent, the block before it in the prompt, is there: a block
// with children never goes before them, and a pinned block does not go at all.
//
// Needs    a block that is there; Unpin: as many pins. Take, Erase: a block without children
// Cost     a hash look-up, then the policy's
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/macros.h"
#include "absl/container/flat_hash_map.h"

#include "storage/policy/eviction_policy.h"

namespace cistern::storage {

class KeyedPolicy {
 public:
  explicit KeyedPolicy(std::unique_ptr<EvictionPolicy> policy) : policy_(std::move(policy)) {}

  // `parent`: nullopt for the first block of a prompt.
  void Insert(const PolicyBlock& block, std::optional<uint64_t> parent) {
    Slot above = kNoSlot;
    if (parent.has_value()) {
      above = At(*parent);
      Change(above, [](Node& node) { ++node.children; });
      policy_->Follow(nodes_[above].slot);
    }
    const Slot at = nodes_.Take();
    places_[block.key] = at;
    nodes_[at] = {.key = block.key, .parent = above, .slot = policy_->Insert(block, at)};
    policy_->Open(nodes_[at].slot);
  }
  void Hit(uint64_t key) { policy_->Hit(SlotOf(key)); }
  void Follow(uint64_t key) { policy_->Follow(SlotOf(key)); }
  void Pin(uint64_t key) {
    Change(At(key), [](Node& node) { ++node.pins; });
  }
  void Unpin(uint64_t key) {
    Change(At(key), [](Node& node) {
      ABSL_ASSERT(node.pins > 0);
      --node.pins;
    });
  }
  std::optional<uint64_t> Victim() {
    const std::optional<Slot> victim = policy_->Victim();
    if (!victim.has_value()) return std::nullopt;
    return nodes_[policy_->OwnerOf(*victim)].key;
  }
  // Removes the victim and names it.
  std::optional<uint64_t> Evict() {
    const std::optional<uint64_t> victim = Victim();
    if (victim.has_value()) Take(*victim, /*chosen=*/true);
    return victim;
  }
  void Take(uint64_t key, bool chosen) {
    policy_->Take(SlotOf(key), chosen, key);
    Forget(key);
  }
  void Erase(uint64_t key) {
    policy_->Erase(SlotOf(key));
    Forget(key);
  }
  uint64_t Worth(uint64_t key) const { return policy_->Worth(SlotOf(key)); }
  bool Contains(uint64_t key) const { return places_.contains(key); }
  size_t size() const { return policy_->size(); }

 private:
  struct Node {
    uint64_t key = 0;
    Slot parent = kNoSlot;  // a node
    Slot slot = kNoSlot;    // of the policy
    uint32_t children = 0;
    uint32_t pins = 0;
    bool may_go() const { return children == 0 && pins == 0; }
  };

  Slot At(uint64_t key) const { return places_.find(key)->second; }
  Slot SlotOf(uint64_t key) const { return nodes_[At(key)].slot; }
  template <typename How>
  void Change(Slot at, How how) {
    Node& node = nodes_[at];
    const bool could_go = node.may_go();
    how(node);
    if (node.may_go() == could_go) return;
    could_go ? policy_->Close(node.slot) : policy_->Open(node.slot);
  }
  void Forget(uint64_t key) {
    const auto it = places_.find(key);
    ABSL_ASSERT(nodes_[it->second].children == 0);  // they would name another node later
    const Slot above = nodes_[it->second].parent;
    nodes_.Give(it->second);
    places_.erase(it);
    if (above != kNoSlot) Change(above, [](Node& node) { --node.children; });
  }

  std::unique_ptr<EvictionPolicy> policy_;
  SlotPool<Node> nodes_;
  absl::flat_hash_map<uint64_t, Slot> places_;
};

}  // namespace cistern::storage
