// Which block goes when room is needed.
//
// Blocks form trees: a block is of use only while its parent (the block before it in the prompt) is
// there, so a block with children never goes before them, and a pinned block does not go at all.
// The base class keeps the trees; a policy only orders the blocks that may go. Who keeps trees of
// his own inserts blocks without parents, pins those that should stay and calls Follow.
//
//   Insert ─► Hit* ─► Take | Erase
//
// Deterministic: no clock (time is the number of Insert and Hit calls), no randomness but a fixed
// sequence, so the same calls give the same victims. No call looks at all blocks.
//
// A block is known by the slot that Insert gave it until it leaves; who knows blocks by keys of his
// own uses a KeyedPolicy (keyed_policy.h).
//
// Needs    a slot that is taken; Unpin: as many pins. Take, Erase: a block without children. At
//          most 255 pins of a block at a time
// Thread   one at a time
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/slot_pool.h"

namespace cistern::storage {

struct PolicyBlock {
  uint64_t key = 0;    // what Victim's slot stands for
  double cost = 0;     // FLOPs to compute it again at its depth, its parents given
  uint64_t bytes = 1;  // > 0
  // What it is known by when it comes back under another key; 0: its key.
  uint64_t name = 0;
};

// Time and age of policies whose blocks compete with each other.
struct PolicyAge {
  uint64_t uses = 0;       // Insert and Hit calls so far
  uint64_t inflation = 0;  // what is worth less than this is worth nothing
};

class EvictionPolicy {
 public:
  static constexpr uint64_t kMaxWorth = (1ull << 44) - 1;

  // `shared` outlives the policy; null: it has an age of its own.
  explicit EvictionPolicy(PolicyAge* shared = nullptr)
      : age_(shared == nullptr ? &own_age_ : shared) {}
  EvictionPolicy(const EvictionPolicy&) = delete;
  EvictionPolicy& operator=(const EvictionPolicy&) = delete;
  virtual ~EvictionPolicy() = default;

  // `parent`: nullopt for the first block of a prompt.
  Slot Insert(const PolicyBlock& block, std::optional<Slot> parent);
  void Hit(Slot slot);
  // A block that continues it has come.
  void Follow(Slot slot);
  void Pin(Slot slot);
  void Unpin(Slot slot);
  // The block that should go next; nullopt when every block has children or pins.
  std::optional<Slot> Victim();
  // It went for room: remembered by its name. `chosen`: it was the victim, so it tells how old the
  // others are; otherwise it was in the way of something larger.
  void Take(Slot slot, bool chosen, uint64_t name);
  // It is gone for another reason: says nothing about its worth.
  void Erase(Slot slot);

  // Comparable among policies that share an age: what is worth less should go first. From 1 to
  // kMaxWorth.
  uint64_t Worth(Slot slot) const;
  // Whether worth is counted from an age's inflation; otherwise from nothing, and it ages nobody.
  virtual bool inflates() const { return false; }
  uint64_t KeyOf(Slot slot) const { return entries_[slot].key; }
  size_t size() const { return size_; }

 protected:
  static constexpr uint32_t kMaxHits = 31;  // more are counted as so many

  // 40 bytes: each object in memory has one.
  struct Entry {
    uint64_t key = 0;
    uint64_t last_use = 0;       // the number of the call that inserted or hit it
    uint64_t priority : 44 = 0;  // the policy's own, like place, past_uses and queue
    uint64_t hits : 5 = 0;       // since it was inserted
    uint64_t past_uses : 5 = 0;
    uint64_t queue : 1 = 0;
    uint64_t followed : 1 = 0;  // it has had children
    uint64_t pins : 8 = 0;
    float density = 0;  // FLOPs to compute a byte again
    Slot parent = kNoSlot;
    uint32_t children = 0;
    uint32_t place = 0;
    bool open() const { return children == 0 && pins == 0; }  // may go
  };
  enum class Exit : uint8_t { kErased, kTaken, kChosen };

  uint64_t now() const { return age_->uses; }
  PolicyAge& age() { return *age_; }
  Entry& at(Slot slot) const { return entries_[slot]; }
  const SlotPool<Entry>& entries() const { return entries_; }

 private:
  // In this order: Entered, Opened? (Used | Followed | Closed | Opened)*, Left. `Used` comes after
  // hits and last_use have been raised; `Followed` after followed has been set, and after the
  // Closed that it may cause.
  virtual void Entered(Slot slot, uint64_t name) = 0;
  virtual void Used(Slot slot) = 0;
  virtual void Followed(Slot) {}
  virtual void Opened(Slot slot) = 0;  // from now on it may go
  virtual void Closed(Slot slot) = 0;  // from now on it may not
  virtual Slot Choose() = 0;           // an open one; kNoSlot if there is none
  virtual void Left(Slot slot, Exit exit, uint64_t name) = 0;
  virtual uint64_t WorthOf(const Entry& entry) const { return entry.last_use; }

  void Remove(Slot slot, Exit exit, uint64_t name);
  template <typename Change>
  void Alter(Slot slot, Change change);

  PolicyAge own_age_;
  PolicyAge* age_;

  SlotPool<Entry> entries_;
  size_t size_ = 0;
};

// Names: value, lru, s3fifo, marconi.
absl::StatusOr<std::unique_ptr<EvictionPolicy>> MakeEvictionPolicy(absl::string_view name,
                                                                   PolicyAge* shared = nullptr);
std::vector<absl::string_view> EvictionPolicyNames();

}  // namespace cistern::storage
