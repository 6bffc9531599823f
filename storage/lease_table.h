// All leases of a store: who holds what, since when.
//
//   Add ─► Find* ─► Remove
//
// A lease lies in a slot, and its id is that slot beside how often it has been taken: to find one
// is no search, and no id comes twice (a slot whose count is used up stays empty). Lists run
// through the leases: one of each session, which the session keeps the ends of, and one of all, by
// age.
//
// A lookup of 64 keys is 64 leases: with a hash map of them, an ordered set of their ages and one
// of each session's, they took most of the call.
//
// Size     56 bytes for each of the most leases that there have been at once
// Cost     O(1)
// Thread   one at a time
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

#include "storage/slot_pool.h"

namespace cistern::storage {

struct Object;

struct HeldLease {
  struct Links {
    Slot previous = kNoSlot;
    Slot next = kNoSlot;
  };

  uint64_t id = 0;
  uint64_t session = 0;
  Object* object = nullptr;  // null: nobody holds it
  absl::Time since;
  Links by_age;
  Links of_session;
};
static_assert(sizeof(HeldLease) == 56);

// The ends of a list of leases, oldest first.
struct LeaseList {
  Slot first = kNoSlot;
  Slot last = kNoSlot;
  uint32_t size = 0;
};

class LeaseTable {
 public:
  static constexpr int kSlotBits = 24;
  static constexpr uint32_t kMost = (1u << kSlotBits) - 1;  // at a time

  size_t size() const { return by_age_.size; }
  bool full() const { return free_ == kNoSlot && taken_ == kMost; }

  // It is not full; `list` is the session's. Time does not go back: where the clock was set back, a
  // lease counts as taken when the one before it was.
  uint64_t Add(LeaseList* list, uint64_t session, Object* object, absl::Time now) {
    const Slot slot = Take();
    HeldLease& lease = slots_[slot];
    lease.id += uint64_t{1} << kSlotBits;
    lease.session = session;
    lease.object = object;
    lease.since = by_age_.size == 0 ? now : std::max(now, slots_[by_age_.last].since);
    Append<&HeldLease::by_age>(&by_age_, slot);
    Append<&HeldLease::of_session>(list, slot);
    return lease.id;
  }
  // Null: there is none (any more).
  const HeldLease* Find(uint64_t id) const {
    const auto slot = static_cast<Slot>(id & kMost);
    if (slot == kNoSlot || slot > taken_) return nullptr;
    const HeldLease& lease = slots_[slot];
    return lease.id == id && lease.object != nullptr ? &lease : nullptr;
  }
  // It is there, in this list.
  void Remove(LeaseList* list, uint64_t id) {
    const auto slot = static_cast<Slot>(id & kMost);
    Unlink<&HeldLease::by_age>(&by_age_, slot);
    Unlink<&HeldLease::of_session>(list, slot);
    HeldLease& lease = slots_[slot];
    lease.object = nullptr;
    if (lease.id >> kSlotBits == kMostTaken) return;
    lease.of_session.next = free_;
    free_ = slot;
  }

  // Null: there is none. Others may come and go, not the one in hand.
  const HeldLease* Oldest() const { return At(by_age_.first); }
  const HeldLease* NextByAge(const HeldLease& lease) const { return At(lease.by_age.next); }
  const HeldLease* First(const LeaseList& list) const { return At(list.first); }
  const HeldLease* NextOfSession(const HeldLease& lease) const { return At(lease.of_session.next); }

 private:
  static constexpr uint64_t kMostTaken = UINT64_MAX >> kSlotBits;

  const HeldLease* At(Slot slot) const { return slot == kNoSlot ? nullptr : &slots_[slot]; }

  Slot Take() {
    if (free_ == kNoSlot) {
      const Slot slot = slots_.Take();
      slots_[slot].id = slot;
      taken_ = std::max(taken_, slot);
      return slot;
    }
    const Slot slot = free_;
    free_ = slots_[slot].of_session.next;
    return slot;
  }
  template <HeldLease::Links HeldLease::*links>
  void Append(LeaseList* list, Slot slot) {
    slots_[slot].*links = {.previous = list->last};
    (list->last == kNoSlot ? list->first : (slots_[list->last].*links).next) = slot;
    list->last = slot;
    ++list->size;
  }
  template <HeldLease::Links HeldLease::*links>
  void Unlink(LeaseList* list, Slot slot) {
    const HeldLease::Links at = slots_[slot].*links;
    (at.previous == kNoSlot ? list->first : (slots_[at.previous].*links).next) = at.next;
    (at.next == kNoSlot ? list->last : (slots_[at.next].*links).previous) = at.previous;
    --list->size;
  }

  SlotPool<HeldLease, 256> slots_;  // given out in order, and never back
  Slot taken_ = kNoSlot;            // the last that has been
  Slot free_ = kNoSlot;             // the first of those that nobody holds, by of_session.next
  LeaseList by_age_;
};

}  // namespace cistern::storage
