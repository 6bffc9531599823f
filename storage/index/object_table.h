// All objects of a store: where they lie, and which has which id.
//
// An object lies in a slot from Add until Remove, at an address that stays; lists of objects hold
// slots, which are half as large as pointers. A slot is used again: whoever keeps a name for longer
// than one call keeps the id.
//
// Size     12 bytes for an id, 24 where many of its neighbours have gone
// Cost     O(log n), O(1) by slot
// Thread   one at a time
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "absl/container/btree_set.h"

#include "storage/index/object.h"
#include "storage/slot_pool.h"

namespace cistern::storage {

class ObjectTable {
  // A slot beside its object's id: 12 bytes, where a pair would have 16.
  struct Named {
    uint32_t id_high = 0;
    uint32_t id_low = 0;
    Slot slot = kNoSlot;
    Named(uint64_t id, Slot at)
        : id_high(static_cast<uint32_t>(id >> 32)), id_low(static_cast<uint32_t>(id)), slot(at) {}
    uint64_t id() const { return uint64_t{id_high} << 32 | id_low; }
    bool operator<(const Named& other) const { return id() < other.id(); }
  };
  using Ids = absl::btree_set<Named>;

 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Object*;
    using difference_type = ptrdiff_t;
    using pointer = Object* const*;
    using reference = Object*;

    Iterator(const ObjectSlots* slots, Ids::const_iterator at) : slots_(slots), at_(at) {}
    Object* operator*() const { return &(*slots_)[at_->slot]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    const ObjectSlots* slots_;
    Ids::const_iterator at_;
  };

  // No other object has this id.
  Object* Add(uint64_t id) {
    const Slot slot = slots_.Take();
    Object* const object = &slots_[slot];
    object->id = id;
    object->slot = slot;
    ids_.insert(ids_.end(), Named(id, slot));
    return object;
  }
  void Remove(Object* object) {
    ids_.erase(Named(object->id, kNoSlot));
    slots_.Give(object->slot);
  }
  // Null: there is none.
  Object* Find(uint64_t id) const {
    const auto it = ids_.find(Named(id, kNoSlot));
    return it == ids_.end() ? nullptr : &slots_[it->slot];
  }
  const ObjectSlots& slots() const { return slots_; }

  // In id order, all, or from the first that is not below `id` on.
  Iterator begin() const { return {&slots_, ids_.begin()}; }
  Iterator end() const { return {&slots_, ids_.end()}; }
  Iterator From(uint64_t id) const { return {&slots_, ids_.lower_bound(Named(id, kNoSlot))}; }

 private:
  ObjectSlots slots_;
  Ids ids_;
};

}  // namespace cistern::storage
