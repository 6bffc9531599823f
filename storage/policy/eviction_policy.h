// Which block goes when room is needed.
//
// Blocks form trees: a block is of use only while its parent (the block before it in the prompt) is
// there, so a block with children never goes before them, and a pinned block does not go at all.
// The base class keeps the trees; a policy only orders the blocks that may go. Who keeps trees of
// his own inserts blocks without parents, pins those that should stay and calls Follow.
//
//   Insert ─► Hit* ─► Evict | Take | Erase
//
// Deterministic: no clock (time is the number of Insert and Hit calls), no randomness but a fixed
// sequence, so the same calls give the same victims. No call looks at all blocks.
//
// Needs    Insert: a key that is absent, a parent that is present. Hit, Follow, Pin, Unpin, Worth:
//          a key that is present; Unpin: as many pins. Take, Erase: a block without children.
// Thread   one at a time
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/policy/slot_pool.h"

namespace cistern::storage {

struct PolicyBlock {
  uint64_t key = 0;
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
  void Insert(const PolicyBlock& block, std::optional<uint64_t> parent);
  void Hit(uint64_t key);
  // A block that continues it has come.
  void Follow(uint64_t key);
  void Pin(uint64_t key);
  void Unpin(uint64_t key);
  // The block that should go next; nullopt when every block has children or pins.
  std::optional<uint64_t> Victim();
  // Removes the victim and names it.
  std::optional<uint64_t> Evict();
  // It went for room: remembered like a victim. `chosen`: it was the victim, so it tells how old
  // the others are; otherwise it was in the way of something larger.
  void Take(uint64_t key, bool chosen);
  // It is gone for another reason: says nothing about its worth.
  void Erase(uint64_t key);

  // Comparable among policies that share an age: what is worth less should go first. From 1 to
  // kMaxWorth.
  uint64_t Worth(uint64_t key) const;
  // Whether worth is counted from an age's inflation; otherwise from nothing, and it ages nobody.
  virtual bool inflates() const { return false; }
  bool Contains(uint64_t key) const { return entries_.contains(key); }
  size_t size() const { return entries_.size(); }

 protected:
  struct Entry {
    uint64_t key = 0;
    uint64_t name = 0;
    double density = 0;  // FLOPs to compute a byte again
    Entry* parent = nullptr;
    uint64_t last_use = 0;  // the number of the call that inserted or hit it
    uint32_t hits = 0;      // since it was inserted
    uint32_t children = 0;
    uint32_t pins = 0;
    bool followed = false;                                    // it has had children
    bool open() const { return children == 0 && pins == 0; }  // may go

    // Each policy's own.
    uint8_t queue = 0;
    uint32_t past_uses = 0;
    uint32_t slot = 0;
    uint64_t priority = 0;
    std::list<Entry*>::iterator place;
  };
  enum class Exit : uint8_t { kErased, kTaken, kChosen };

  uint64_t now() const { return age_->uses; }
  PolicyAge& age() { return *age_; }

 private:
  // In this order: Entered, Opened? (Used | Followed | Closed | Opened)*, Left. `Used` comes after
  // hits and last_use have been raised, `previous_use` being what last_use was; `Followed` after
  // followed has been set, and after the Closed that it may cause.
  virtual void Entered(Entry& entry) = 0;
  virtual void Used(Entry& entry, uint64_t previous_use) = 0;
  virtual void Followed(Entry&) {}
  virtual void Opened(Entry& entry) = 0;  // from now on it may go
  virtual void Closed(Entry& entry) = 0;  // from now on it may not
  virtual Entry* Choose() = 0;            // an open entry; null if there is none
  virtual void Left(Entry& entry, Exit exit) = 0;
  virtual uint64_t WorthOf(const Entry& entry) const { return entry.last_use; }

  void Remove(Entry& entry, Exit exit);
  template <typename Change>
  void Alter(Entry& entry, Change change);

  PolicyAge own_age_;
  PolicyAge* age_;
  Entry& At(uint64_t key) const { return **entries_.find(key); }

  // By their own keys: a table of pointers costs a tenth of one of entries.
  struct Hash {
    using is_transparent = void;
    size_t operator()(uint64_t key) const { return absl::HashOf(key); }
    size_t operator()(const Entry* entry) const { return absl::HashOf(entry->key); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Entry* a, const Entry* b) const { return a->key == b->key; }
    bool operator()(const Entry* a, uint64_t key) const { return a->key == key; }
    bool operator()(uint64_t key, const Entry* a) const { return a->key == key; }
  };
  SlotPool<Entry> pool_;
  absl::flat_hash_set<Entry*, Hash, Equal> entries_;
};

// Names: value, lru, s3fifo, marconi.
absl::StatusOr<std::unique_ptr<EvictionPolicy>> MakeEvictionPolicy(absl::string_view name,
                                                                   PolicyAge* shared = nullptr);
std::vector<absl::string_view> EvictionPolicyNames();

}  // namespace cistern::storage
