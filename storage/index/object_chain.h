// Objects that have a key in common, as a list through the objects themselves, and a table of the
// lists' first objects that hashes through their own keys: no key is stored twice.
//
//   key ─► first ─► next ─► ...
//
// Size     8 bytes in the object for each pointer of the list, 9 to 20 bytes for each list
// Thread   one at a time
#pragma once

#include <cstddef>
#include <iterator>

#include "absl/container/flat_hash_set.h"

#include "base/key.h"
#include "storage/index/object.h"

namespace cistern::storage {

// Some objects, one after the other by `kNext`; a range for `for`.
template <Object* Object::*kNext>
class ObjectChain {
 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Object*;
    using difference_type = ptrdiff_t;
    using pointer = Object* const*;
    using reference = Object*;

    explicit Iterator(Object* at = nullptr) : at_(at) {}
    Object* operator*() const { return at_; }
    Iterator& operator++() {
      at_ = at_->*kNext;
      return *this;
    }
    Iterator operator++(int) {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;

   private:
    Object* at_;
  };
  using iterator = Iterator;
  using const_iterator = Iterator;
  using value_type = Object*;

  explicit ObjectChain(Object* first = nullptr) : first_(first) {}
  Iterator begin() const { return Iterator(first_); }
  Iterator end() const { return Iterator(); }
  bool empty() const { return first_ == nullptr; }

 private:
  Object* first_;
};

// The first object of each key's list.
template <base::Key StoredHeader::*kKey>
class ChainHeads {
 public:
  // Null: there is none.
  Object* Find(const base::Key& key) const {
    const auto it = heads_.find(key);
    return it == heads_.end() ? nullptr : *it;
  }
  // In place of the one there is.
  void Set(Object* first) {
    heads_.erase(first->header.*kKey);
    heads_.insert(first);
  }
  void Clear(const base::Key& key) { heads_.erase(key); }

 private:
  static const base::Key& KeyOf(const base::Key& key) { return key; }
  static const base::Key& KeyOf(const Object* object) { return object->header.*kKey; }
  struct Hash {
    using is_transparent = void;
    template <typename T>
    size_t operator()(const T& of) const {
      return absl::HashOf(KeyOf(of));
    }
  };
  struct Equal {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return KeyOf(a) == KeyOf(b);
    }
  };

  absl::flat_hash_set<Object*, Hash, Equal> heads_;
};

}  // namespace cistern::storage
