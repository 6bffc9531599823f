// Objects that have a key in common, as a list through the objects themselves, and a table of the
// lists' first objects that hashes through their own keys: no key is stored twice.
//
//   key ─► first ─► next ─► ...
//
// Size     4 bytes in the object for each slot of the list, 5 to 12 bytes for each list
// Thread   one at a time
#pragma once

#include <cstddef>
#include <iterator>

#include "absl/container/flat_hash_set.h"

#include "base/key.h"
#include "storage/index/object.h"
#include "storage/slot_pool.h"

namespace cistern::storage {

// Some objects, one after the other by `kNext`; a range for `for`.
template <Slot Object::*kNext>
class ObjectChain {
 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Object*;
    using difference_type = ptrdiff_t;
    using pointer = Object* const*;
    using reference = Object*;

    Iterator() = default;
    Iterator(const ObjectSlots* slots, Object* at) : slots_(slots), at_(at) {}
    Object* operator*() const { return at_; }
    Iterator& operator++() {
      const Slot next = at_->*kNext;
      at_ = next == kNoSlot ? nullptr : &(*slots_)[next];
      return *this;
    }
    Iterator operator++(int) {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    const ObjectSlots* slots_ = nullptr;
    Object* at_ = nullptr;
  };
  using iterator = Iterator;
  using const_iterator = Iterator;
  using value_type = Object*;

  // `first`: null for an empty one.
  ObjectChain(const ObjectSlots& slots, Object* first) : slots_(&slots), first_(first) {}
  Iterator begin() const { return Iterator(slots_, first_); }
  Iterator end() const { return Iterator(); }
  bool empty() const { return first_ == nullptr; }

 private:
  const ObjectSlots* slots_;
  Object* first_;
};

// The first object of each key's list.
template <base::Key StoredHeader::*kKey>
class ChainHeads {
 public:
  explicit ChainHeads(const ObjectSlots& slots)
      : slots_(&slots), heads_(0, Hash{slots_}, Equal{slots_}) {}

  // Null: there is none.
  Object* Find(const base::Key& key) const {
    const auto it = heads_.find(key);
    return it == heads_.end() ? nullptr : &(*slots_)[*it];
  }
  // In place of the one there is.
  void Set(const Object& first) {
    heads_.erase(first.header.*kKey);
    heads_.insert(first.slot);
  }
  void Clear(const base::Key& key) { heads_.erase(key); }

 private:
  struct KeyOf {
    const ObjectSlots* slots;
    const base::Key& operator()(const base::Key& key) const { return key; }
    const base::Key& operator()(Slot slot) const { return (*slots)[slot].header.*kKey; }
  };
  struct Hash {
    using is_transparent = void;
    const ObjectSlots* slots;
    template <typename T>
    size_t operator()(const T& of) const {
      return absl::HashOf(KeyOf{slots}(of));
    }
  };
  struct Equal {
    using is_transparent = void;
    const ObjectSlots* slots;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return KeyOf{slots}(a) == KeyOf{slots}(b);
    }
  };

  const ObjectSlots* slots_;
  absl::flat_hash_set<Slot, Hash, Equal> heads_;
};

}  // namespace cistern::storage
