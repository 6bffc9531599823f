// Which block goes when room is needed.
//
// Blocks form trees: a block is of use only while its parent (the block before it in the prompt) is
// there, so a block with children never goes before them, and a pinned block does not go at all.
// The base class keeps the trees; a policy only orders the blocks that may go.
//
//   Insert ─► Hit* ─► Evict | Erase
//
// Deterministic: no clock (time is the number of Insert and Hit calls), no randomness but a fixed
// sequence, so the same calls give the same victims. No call looks at all blocks.
//
// Needs    Insert: a key that is absent, a parent that is present. Hit, Pin, Unpin: a key that is
//          present; Unpin: as many pins. Erase: a block without children.
// Thread   one at a time
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::storage {

struct PolicyBlock {
  uint64_t key = 0;
  double cost = 0;     // FLOPs to compute it again at its depth, its parents given
  uint64_t bytes = 1;  // > 0
};

class EvictionPolicy {
 public:
  EvictionPolicy() = default;
  EvictionPolicy(const EvictionPolicy&) = delete;
  EvictionPolicy& operator=(const EvictionPolicy&) = delete;
  virtual ~EvictionPolicy() = default;

  // `parent`: nullopt for the first block of a prompt.
  void Insert(const PolicyBlock& block, std::optional<uint64_t> parent);
  void Hit(uint64_t key);
  void Pin(uint64_t key);
  void Unpin(uint64_t key);
  // Removes the victim and names it; nullopt when every block has children or pins.
  std::optional<uint64_t> Evict();
  // It is gone for another reason: says nothing about its worth.
  void Erase(uint64_t key);

  bool Contains(uint64_t key) const { return entries_.contains(key); }
  size_t size() const { return entries_.size(); }

 protected:
  struct Entry {
    PolicyBlock block;
    Entry* parent = nullptr;
    uint32_t children = 0;
    uint32_t pins = 0;
    bool followed = false;  // it has had children
    uint32_t hits = 0;      // since it was inserted
    uint64_t last_use = 0;  // the number of the call that inserted or hit it
    bool open() const { return children == 0 && pins == 0; }  // may go

    // Each policy's own.
    uint64_t priority = 0;
    uint32_t past_uses = 0;
    uint32_t queue = 0;
    uint64_t slot = 0;
    std::list<Entry*>::iterator place;
  };

  uint64_t now() const { return now_; }

 private:
  // In this order: Entered, Opened? (Used | Closed | Opened)*, Left. `Used` comes after hits and
  // last_use have been raised, `previous_use` being what last_use was.
  virtual void Entered(Entry& entry) = 0;
  virtual void Used(Entry& entry, uint64_t previous_use) = 0;
  virtual void Opened(Entry& entry) = 0;  // from now on it may go
  virtual void Closed(Entry& entry) = 0;  // from now on it may not
  virtual Entry* Choose() = 0;            // an open entry; null if there is none
  virtual void Left(Entry& entry, bool evicted) = 0;

  void Remove(Entry& entry, bool evicted);
  template <typename Change>
  void Alter(Entry& entry, Change change);

  absl::node_hash_map<uint64_t, Entry> entries_;
  uint64_t now_ = 0;
};

// Names: value, lru, s3fifo, marconi.
absl::StatusOr<std::unique_ptr<EvictionPolicy>> MakeEvictionPolicy(absl::string_view name);
std::vector<absl::string_view> EvictionPolicyNames();

}  // namespace cistern::storage
