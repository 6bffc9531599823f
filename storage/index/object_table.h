// All objects of a store: where they lie, and which has which id.
//
// An object lies in a slot from Add until Remove, at an address that stays; lists of objects hold
// slots, which are half as large as pointers. A slot is used again: whoever keeps a name for longer
// than one call keeps the id.
//
// Size     8 to 9 bytes for an id, 17 where many of its neighbours have gone
// Cost     O(log n), O(1) by slot
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"

#include "storage/index/object.h"
#include "storage/slot_pool.h"

namespace cistern::storage {

class ObjectTable {
  // A slot beside the low half of its object's id; ids with the same high half lie together.
  struct Named {
    uint32_t id_low = 0;
    Slot slot = kNoSlot;
    bool operator<(const Named& other) const { return id_low < other.id_low; }
  };
  using Ids = absl::btree_set<Named>;
  using Table = absl::btree_map<uint32_t, Ids>;  // by the high half; none is empty
  static uint32_t High(uint64_t id) { return static_cast<uint32_t>(id >> 32); }
  static uint32_t Low(uint64_t id) { return static_cast<uint32_t>(id); }

 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Object*;
    using difference_type = ptrdiff_t;
    using pointer = Object* const*;
    using reference = Object*;

    Object* operator*() const { return &(*slots_)[at_->slot]; }
    Iterator& operator++() {
      ++at_;
      Settle();
      return *this;
    }
    bool operator==(const Iterator& other) const {
      return part_ == other.part_ && (part_ == table_->end() || at_ == other.at_);
    }

   private:
    friend class ObjectTable;
    Iterator(const ObjectSlots* slots, const Table* table, Table::const_iterator part)
        : slots_(slots), table_(table), part_(part) {
      if (part_ != table_->end()) at_ = part_->second.begin();
    }
    // At the end of one part it stands at the beginning of the next.
    void Settle() {
      if (at_ == part_->second.end() && ++part_ != table_->end()) at_ = part_->second.begin();
    }

    const ObjectSlots* slots_;
    const Table* table_;
    Table::const_iterator part_;
    Ids::const_iterator at_;
  };

  // No other object has this id.
  Object* Add(uint64_t id) {
    const Slot slot = slots_.Take();
    Object* const object = &slots_[slot];
    object->id = id;
    object->slot = slot;
    Ids& ids = table_[High(id)];
    ids.insert(ids.end(), {.id_low = Low(id), .slot = slot});
    return object;
  }
  void Remove(Object* object) {
    const auto part = table_.find(High(object->id));
    part->second.erase({.id_low = Low(object->id)});
    if (part->second.empty()) table_.erase(part);
    slots_.Give(object->slot);
  }
  // Null: there is none.
  Object* Find(uint64_t id) const {
    const auto part = table_.find(High(id));
    if (part == table_.end()) return nullptr;
    const auto it = part->second.find({.id_low = Low(id)});
    return it == part->second.end() ? nullptr : &slots_[it->slot];
  }
  // Null: no object has ever lain there; where one has gone, its id is 0.
  Object* At(Slot slot) const { return slot < slots_.end() ? &slots_[slot] : nullptr; }
  const ObjectSlots& slots() const { return slots_; }

  // In id order, all, or from the first that is not below `id` on.
  Iterator begin() const { return {&slots_, &table_, table_.begin()}; }
  Iterator end() const { return {&slots_, &table_, table_.end()}; }
  Iterator From(uint64_t id) const {
    Iterator it(&slots_, &table_, table_.lower_bound(High(id)));
    if (it.part_ == table_.end() || it.part_->first != High(id)) return it;
    it.at_ = it.part_->second.lower_bound({.id_low = Low(id)});
    it.Settle();
    return it;
  }

 private:
  ObjectSlots slots_;
  Table table_;
};

}  // namespace cistern::storage
