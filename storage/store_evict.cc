// What an object's state means for its blocks and for the queues, and the one place that decides
// what may go.
#include <utility>

#include "storage/policy/recompute_cost.h"
#include "storage/store_impl.h"

namespace cistern::storage {

// On disk, its header stays; otherwise it is gone.
void Store::Impl::EvictFromMemory(Object* object, VictimBook::Exit exit) {
  ++stats.evicted_objects;
  ++tenants.at(object->rule()).stats.evicted_objects;
  stats.evicted_bytes += object->header.payload_bytes();
  book.Leave(*object, exit);
  object->filed_resident = false;
  CountForParents(*object, -1);
  if (!object->on_disk) {
    Drop(object);
    return;
  }
  FreeBlocks(object);
  Refile(object);
}

void Store::Impl::FreeBlocks(Object* object) {
  // What is filed of them is theirs no longer.
  if (object->filed_evictable) tenants.at(object->rule()).evictable_bytes -= BlockBytes(*object);
  object->filed_evictable = false;
  object->filed_movable = false;
  freed.assign(object->blocks.begin(), object->blocks.end());
  object->blocks.clear();
  GiveBlocks(object->rule(), object->pool(), freed);
  object->in_memory = false;
}

void Store::Impl::Drop(Object* object) {
  // Of one that is not saved an older record may come yet, and must not bring it back. One that is
  // being written is deleted once it is there.
  if (object->on_disk || (records_may_come && !object->demoting)) DropRecord(KeyOf(object->header));
  Detach(object);
}

void Store::Impl::Detach(Object* object) {
  ++stats.dropped_objects;
  const bool state = base::IsState(object->header.kind());
  const base::Key context = object->header.context;
  const base::Key origin = index.OriginOf(*object);
  object->on_disk = false;
  index.Remove(object);
  ForgetUse(*object);
  object->detached = true;
  Refile(object);
  DestroyIfUnused(object);
  if (!state) return;
  RefileStatesAt(context);
  RefileStatesAt(origin);
  DropLogsWithoutBase(context);
}

void Store::Impl::DestroyIfUnused(Object* object) {
  if (!object->detached || object->in_use()) return;
  FreeBlocks(object);
  Refile(object);
  EndUse(object->header.model());
  const ObjectForm* const form = object->header.form();
  objects.Remove(object);
  forms.Give(form);
}

bool Store::Impl::MayEvict(const Object& object) const {
  return object.in_memory && !object.detached && !object.pinned && !object.in_use() &&
         (!options.has_disk || object.on_disk || object.droppable);
}

// Whether nobody reads or writes its bytes.
bool Store::Impl::MayMove(const Object& object) const {
  return object.in_memory && !object.pinned && !object.in_use();
}

bool Store::Impl::ShouldDemote(const Object& object) const {
  return options.has_disk && object.in_memory && !object.detached && !object.on_disk &&
         !object.demoting && !object.set_aside;
}

Rung Store::Impl::RungOf(const Object& object) const {
  if (IsSpent(object)) return Rung::kSpent;
  return object.children > 0 ? Rung::kInterior : Rung::kLeaf;
}

// What its blocks are worth to who looks for a cheap stretch of the arena: what is spent goes
// before anything else of its tenant's level.
uint64_t Store::Impl::BlockPriority(const Object& object) const {
  if (object.listed_rung != Rung::kSpent) return object.priority;
  return (uint64_t{PriorityLevel(object.priority)} << kPriorityLevelShift) + 1;
}

// Whether `next` begins where `object` ends: what a worker says of its context alone could make
// circles.
bool Store::Impl::Continues(const Object& object, const Object& next) {
  return next.header.parent_context == object.header.context &&
         next.header.base_position == object.header.base_position + object.header.num_tokens();
}

// How many objects in memory continue `object`: segments a segment, logs a state.
uint32_t Store::Impl::CountChildren(const Object& object) const {
  const ContentIndex::Children children = base::IsState(object.header.kind())
                                              ? index.LogsFrom(object.header.context)
                                              : index.ChildrenOf(object.header.context);
  uint32_t count = 0;
  for (const Object* child : children)
    count += child->filed_resident && Continues(object, *child) ? 1 : 0;
  return count;
}

// Tells those that end where `object` begins that it has come, or gone.
void Store::Impl::CountForParents(const Object& object, int change) {
  // A checkpoint stands for all that is before it: it continues nothing.
  if (object.header.kind() == base::ObjectKind::kCheckpoint ||
      object.header.parent_context.IsZero()) {
    return;
  }
  const ContentIndex::Enders parents = object.header.kind() == base::ObjectKind::kLog
                                           ? index.StatesAt(object.header.parent_context)
                                           : index.EndingAt(object.header.parent_context);
  for (Object* parent : parents) {
    if (!Continues(*parent, object)) continue;
    parent->children += change;
    if (!parent->filed_resident) continue;
    if (change > 0) Reprice(parent, &VictimBook::Follow);
    Refile(parent);
  }
}

// Files the object under what its state now says.
void Store::Impl::Refile(Object* object) {
  RefileResidence(object);
  const bool evictable = MayEvict(*object);
  const bool was_spent = object->listed_rung == Rung::kSpent;
  if (object->filed_resident) book.File(*object, evictable ? RungOf(*object) : Rung::kNone);
  const bool moved = object->repriced || was_spent != (object->listed_rung == Rung::kSpent);
  if (evictable != object->filed_evictable) {
    uint64_t& bytes = tenants.at(object->rule()).evictable_bytes;
    bytes += evictable ? BlockBytes(*object) : 0 - BlockBytes(*object);
  }
  if (evictable != object->filed_evictable || (evictable && moved)) {
    for (const Handle handle : object->blocks)
      pools.SetPriority(handle, evictable ? BlockPriority(*object) : 0);
    object->filed_evictable = evictable;
  }
  if (const bool movable = MayMove(*object); movable != object->filed_movable) {
    for (const Handle handle : object->blocks) pools.SetMovable(handle, movable);
    object->filed_movable = movable;
  }
  RefileDirty(object);
  object->repriced = false;
  Recount(object);
}

// In the book as long as it is found in memory.
void Store::Impl::RefileResidence(Object* object) {
  const bool resident = object->in_memory && !object->detached;
  if (resident == object->filed_resident) return;
  object->filed_resident = resident;
  if (resident) {
    book.Enter(*object, RecomputeFlops(object->header), BlockBytes(*object));
  } else {
    book.Leave(*object, VictimBook::Exit::kErased);
  }
  CountForParents(*object, resident ? 1 : -1);
}

void Store::Impl::Reprice(Object* object, void (VictimBook::*change)(Object&)) {
  const uint64_t before = object->priority;
  (book.*change)(*object);
  if (!object->filed_dirty || object->priority == before) return;
  VictimQueue& dirty = tenants.at(object->rule()).dirty;
  dirty.Erase(before, *object);
  dirty.Insert(object->priority, object);
}

void Store::Impl::RefileDirty(Object* object) {
  VictimQueue& dirty = tenants.at(object->rule()).dirty;
  const bool demote = ShouldDemote(*object);
  if (object->filed_dirty && !demote) dirty.Erase(object->priority, *object);
  if (demote && !object->filed_dirty) dirty.Insert(object->priority, object);
  object->filed_dirty = demote;
  if (object->set_aside && !object->detached && object->in_memory && !object->on_disk) {
    set_aside.insert(object->id);
  } else {
    object->set_aside = false;
    if (!set_aside.empty()) set_aside.erase(object->id);
  }
}

// Keeps the gauges that would otherwise need a walk over all objects.
void Store::Impl::Recount(Object* object) {
  const bool memory = object->in_memory && !object->detached;
  const bool disk = object->on_disk && !object->detached;
  const bool unsaved = memory && !disk;
  if (memory != object->counted_memory) {
    stats.objects_memory += memory ? 1 : -1;
    tenants.at(object->rule()).stats.objects_memory += memory ? 1 : -1;
  }
  if (disk != object->counted_disk) stats.objects_disk += disk ? 1 : -1;
  if (unsaved != object->counted_dirty) {
    const uint64_t change =
        unsaved ? object->header.payload_bytes() : 0 - object->header.payload_bytes();
    stats.dirty_bytes += change;
    tenants.at(object->rule()).unsaved_bytes += change;
  }
  const bool pinned = object->pinned && !object->detached;
  const bool pinned_memory = pinned && memory;
  if (pinned != object->counted_pinned) stats.pinned_objects += pinned ? 1 : -1;
  if (pinned_memory != object->counted_pinned_memory)
    stats.pinned_bytes +=
        pinned_memory ? object->header.payload_bytes() : 0 - object->header.payload_bytes();
  object->counted_pinned = pinned;
  object->counted_pinned_memory = pinned_memory;
  object->counted_memory = memory;
  object->counted_disk = disk;
  object->counted_dirty = unsaved;
}

}  // namespace cistern::storage
