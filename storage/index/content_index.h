// Which objects have a content, a context, or continue a context.
//
//   content key ─► variants: the objects with these tokens, each in its own context
//   context key ─► the object that ends there, and those that are linked to it
//   parent key  ─► children: the objects (and links) that begin there
//
// State has lists of its own: what is known of a segment by its context says nothing of a state
// there, and the other way round.
//
//   context key ─► states: the checkpoints and logs that end there
//   parent key  ─► the checkpoints whose tokens begin there; the logs that stand on a state there
//   context key ─► successors: the checkpoints that were computed from the state there, also by way
//                  of states that have gone since
//
// The index owns nothing; lists of objects run through the objects themselves
// (Object::next_variant and so on). Links, which few objects have, lie in tables of their own.
// Blobs have a content only; state is never linked. Its answers depend on the order of the calls,
// never on hash order.
//
// Needs    objects are inserted in the order of their ids, and outlive their entry
// Cost     a hash look-up, then a handful of comparisons; a link's place among children is O(log n)
// Thread   one at a time
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"

#include "base/key.h"
#include "storage/index/object.h"
#include "storage/index/object_chain.h"

namespace cistern::storage {

// An object at a context: its own, or one that it was linked to.
struct ContextEntry {
  uint64_t sequence = 0;
  Object* object = nullptr;
  bool link = false;
};

class ContentIndex {
 public:
  using Variants = ObjectChain<&Object::next_variant>;
  using Enders = ObjectChain<&Object::next_ender>;
  using Children = ObjectChain<&Object::next_child>;

  // `slots` are where the objects lie, and outlive the index.
  explicit ContentIndex(const ObjectSlots& slots) : slots_(slots) {}

  // With the object's own context; it has no links.
  void Insert(Object* object);
  // With its links.
  void Remove(Object* object);
  // The links of an object, oldest first.
  std::span<const ContextLink> LinksOf(const Object& object) const;
  // `link` is appended to the object's links.
  void AddLink(Object* object, const ContextLink& link);
  // Takes the object's link number `position` away.
  void RemoveLink(Object* object, size_t position);

  // Oldest first.
  Variants VariantsOf(const base::Key& content) const {
    return Variants(slots_, variants_.Find(content));
  }
  // The object with this content whose own context is `context`, or null.
  Object* Exact(const base::Key& content, const base::Key& context) const;
  // The newest object with this content that is linked to `context`, or null.
  Object* Linked(const base::Key& content, const base::Key& context) const;
  // Segments whose own context it is, newest first.
  Enders EndingAt(const base::Key& context) const { return Enders(slots_, enders_.Find(context)); }
  // Who is linked to it, oldest first.
  std::span<const ContextEntry> LinkedTo(const base::Key& context) const;
  // Segments whose own context begins there, newest first.
  Children ChildrenOf(const base::Key& context) const {
    return Children(slots_, children_.Find(context));
  }
  // State, newest first.
  Enders StatesAt(const base::Key& context) const { return Enders(slots_, states_.Find(context)); }
  Children CheckpointsFrom(const base::Key& context) const {
    return Children(slots_, checkpoints_.Find(context));
  }
  Children LogsFrom(const base::Key& context) const {
    return Children(slots_, logs_.Find(context));
  }
  // How many checkpoints were computed from the state at `context`.
  size_t CountSuccessors(const base::Key& context) const;
  // The context of the state that this one counts as computed from; zero: from the beginning.
  base::Key OriginOf(const Object& object) const;
  // Segments that begin there and the linked ones, newest first, until `each` answers false.
  void ForEachChild(const base::Key& context,
                    absl::FunctionRef<bool(const ContextEntry&)> each) const;

  // For checks.
  size_t num_objects() const { return num_objects_; }
  size_t num_links() const { return num_links_; }
  size_t num_context_entries() const { return num_context_entries_; }
  size_t num_children() const { return num_children_; }

 private:
  using EndHeads = ChainHeads<&StoredHeader::context>;
  using BeginHeads = ChainHeads<&StoredHeader::parent_context>;

  struct NewestFirst {
    bool operator()(const ContextEntry& a, const ContextEntry& b) const {
      return a.sequence > b.sequence;
    }
  };

  EndHeads& EndsOf(const Object& object);
  BeginHeads& BeginsOf(const Object& object);
  void InsertSuccessor(Object* object);
  void RemoveSuccessor(Object* object);
  void InsertVariant(Object* object);
  void RemoveVariant(Object* object);
  void InsertOwn(Object* object);
  void RemoveOwn(Object* object);
  void AddEntry(const ContextLink& link, const ContextEntry& entry);
  void RemoveEntry(const ContextLink& link);

  const ObjectSlots& slots_;
  ChainHeads<&StoredHeader::content> variants_{slots_};
  EndHeads enders_{slots_}, states_{slots_};
  BeginHeads children_{slots_}, checkpoints_{slots_}, logs_{slots_};
  // Of checkpoints, which are few and large. Logs are listed by what they stand on already.
  absl::flat_hash_map<base::Key, absl::InlinedVector<const Object*, 1>> successors_;
  absl::flat_hash_map<const Object*, base::Key> origins_;
  absl::flat_hash_map<const Object*, std::vector<ContextLink>> links_;
  absl::flat_hash_map<base::Key, absl::InlinedVector<ContextEntry, 1>> linked_;  // by context
  absl::flat_hash_map<base::Key, absl::btree_set<ContextEntry, NewestFirst>>
      linked_children_;  // by parent context
  size_t num_objects_ = 0;
  size_t num_links_ = 0;
  size_t num_context_entries_ = 0;
  size_t num_children_ = 0;
};

}  // namespace cistern::storage
