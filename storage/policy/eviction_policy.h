// Which block goes when room is needed.
//
// A block is of use only while the block before it in the prompt is there, so one that others
// follow does not go before them, and one in use does not go at all. Whoever owns the blocks knows
// that: he opens those that may go, closes them when they may not any more, and calls Follow. A
// policy orders the open ones. A KeyedPolicy (keyed_policy.h) keeps such trees and knows blocks by
// keys.
//
//   Insert ─► (Hit | Follow | Open Close)* ─► Take | Erase
//
// Deterministic: no clock (time is the number of Insert and Hit calls), no randomness but a fixed
// sequence, so the same calls give the same victims. No call looks at all blocks.
//
// A block is known by the slot that Insert gave it until it leaves.
//
// Needs    a slot that is taken; Open: a closed one, Close: an open one
// Thread   one at a time
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/slot_pool.h"

namespace cistern::storage {

struct PolicyBlock {
  uint64_t key = 0;    // what it is known by when it comes back
  double cost = 0;     // FLOPs to compute it again at its depth, its parents given
  uint64_t bytes = 1;  // > 0
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

  // It is closed. `owner` is the caller's.
  Slot Insert(const PolicyBlock& block, uint32_t owner);
  void Hit(Slot slot);
  // A block that continues it has come.
  void Follow(Slot slot);
  void Open(Slot slot);
  void Close(Slot slot);
  // The block that should go next; nullopt when none is open.
  std::optional<Slot> Victim();
  // It went for room: remembered by its key. `chosen`: it was the victim, so it tells how old the
  // others are; otherwise it was in the way of something larger.
  void Take(Slot slot, bool chosen, uint64_t key);
  // It is gone for another reason: says nothing about its worth.
  void Erase(Slot slot);

  // Comparable among policies that share an age: what is worth less should go first. From 1 to
  // kMaxWorth.
  uint64_t Worth(Slot slot) const;
  // Whether worth is counted from an age's inflation; otherwise from nothing, and it ages nobody.
  virtual bool inflates() const { return false; }
  uint32_t OwnerOf(Slot slot) const { return entries_[slot].owner; }
  // A number for the caller's use while the block is closed.
  uint32_t& PlaceOf(Slot slot) { return entries_[slot].place; }
  size_t size() const { return size_; }

 protected:
  static constexpr uint32_t kMaxCountedUses = 31;  // more are counted as so many

  // 24 bytes: each object in memory has one.
  struct Entry {
    uint64_t priority : 44 = 0;  // the policy's own, like queue and waiting
    uint64_t density_high : 20 = 0;
    uint64_t last_use : 44 = 0;  // the number of the call that inserted or hit it
    uint64_t density_low : 11 = 0;
    uint64_t uses : 5 = 0;      // hits; the policy may count otherwise
    uint64_t followed : 1 = 0;  // it has been continued
    uint64_t open : 1 = 0;      // may go
    uint64_t queue : 1 = 0;
    uint64_t waiting : 1 = 0;
    uint32_t owner = 0;
    uint32_t place = 0;  // the policy's while it is open, else the caller's

    // FLOPs to compute a byte again, not negative: all of a float but its sign.
    float density() const {
      return std::bit_cast<float>(static_cast<uint32_t>(density_high << 11 | density_low));
    }
    void set_density(float density) {
      density_high = std::bit_cast<uint32_t>(density) >> 11;
      density_low = std::bit_cast<uint32_t>(density);
    }
  };
  static_assert(sizeof(Entry) == 24);
  using Entries = SlotPool<Entry, 256>;
  enum class Exit : uint8_t { kErased, kTaken, kChosen };

  uint64_t now() const { return age_->uses; }
  PolicyAge& age() { return *age_; }
  Entry& at(Slot slot) const { return entries_[slot]; }
  const Entries& entries() const { return entries_; }

 private:
  // In this order: Entered (Used | Followed | Opened | Closed)* Left. `Used` comes after uses and
  // last_use have been raised, `Followed` after followed has been set.
  virtual void Entered(Slot slot, uint64_t key) = 0;
  virtual void Used(Slot slot) = 0;
  virtual void Followed(Slot) {}
  virtual void Opened(Slot slot) = 0;  // from now on it may go
  virtual void Closed(Slot slot) = 0;  // from now on it may not
  virtual Slot Choose() = 0;           // an open one; kNoSlot if there is none
  virtual void Left(Slot slot, Exit exit, uint64_t key) = 0;
  virtual uint64_t WorthOf(const Entry& entry) const { return entry.last_use; }

  void Remove(Slot slot, Exit exit, uint64_t key);
  void CountUse(Entry& entry);

  PolicyAge own_age_;
  PolicyAge* age_;

  Entries entries_;
  size_t size_ = 0;
};

// Names: value, lru, s3fifo, marconi.
absl::StatusOr<std::unique_ptr<EvictionPolicy>> MakeEvictionPolicy(absl::string_view name,
                                                                   PolicyAge* shared = nullptr);
std::vector<absl::string_view> EvictionPolicyNames();

}  // namespace cistern::storage
