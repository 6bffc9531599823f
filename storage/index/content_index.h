// Which objects have a content, a context, or continue a context.
//
//   content key ─► variants: the objects with these tokens, each in its own context
//   context key ─► the object that ends there, and those that are linked to it
//   parent key  ─► children: the objects (and links) that begin there
//
// The index stores pointers and owns nothing. Blobs have a content only. Its answers depend on the
// order of the calls, never on hash order.
//
// Cost     a hash look-up, then a handful of comparisons; children are ordered, O(log n)
// Thread   one at a time
#pragma once

#include <cstdint>
#include <span>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"

#include "base/key.h"
#include "storage/index/object.h"

namespace cistern::storage {

// An object at a context: its own, or one that it was linked to.
struct ContextEntry {
  uint64_t sequence = 0;
  Object* object = nullptr;
  bool link = false;
};
struct NewestFirst {
  bool operator()(const ContextEntry& a, const ContextEntry& b) const {
    return a.sequence > b.sequence;
  }
};

class ContentIndex {
 public:
  using Children = absl::btree_set<ContextEntry, NewestFirst>;

  // With the object's own contexts and its links.
  void Insert(Object* object);
  void Remove(Object* object);
  // `link` is appended to the object's links.
  void AddLink(Object* object, const ContextLink& link);
  // Takes the object's link number `position` away.
  void RemoveLink(Object* object, size_t position);

  // Oldest first.
  std::span<Object* const> Variants(const base::Key& content) const;
  // The object with this content whose own context is `context`, or null.
  Object* Exact(const base::Key& content, const base::Key& context) const;
  // The newest object with this content that is linked to `context`, or null.
  Object* Linked(const base::Key& content, const base::Key& context) const;
  // Own and linked, oldest first.
  std::span<const ContextEntry> AtContext(const base::Key& context) const;
  // Null when nothing begins there.
  const Children* ChildrenOf(const base::Key& context) const;

  // For checks.
  size_t num_objects() const { return num_objects_; }
  size_t num_links() const { return num_links_; }
  size_t num_context_entries() const { return num_context_entries_; }
  size_t num_children() const { return num_children_; }

 private:
  void AddEntry(const base::Key& context, const base::Key& parent, const ContextEntry& entry);
  void RemoveEntry(const base::Key& context, const base::Key& parent, const ContextEntry& entry);

  absl::flat_hash_map<base::Key, absl::InlinedVector<Object*, 2>> variants_;
  absl::flat_hash_map<base::Key, absl::InlinedVector<ContextEntry, 1>> contexts_;
  absl::flat_hash_map<base::Key, Children> children_;
  size_t num_objects_ = 0;
  size_t num_links_ = 0;
  size_t num_context_entries_ = 0;
  size_t num_children_ = 0;
};

}  // namespace cistern::storage
