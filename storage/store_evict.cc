// Making room, and the one place that decides what may go.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "storage/store_impl.h"

namespace cistern::storage {
namespace {

// After other pools' slabs turned out to be worth more than the pool's own victims, or too full to
// be moved together, how many evictions pass before it looks again: the look goes over every slab.
constexpr uint32_t kTradeWait = 16;

}  // namespace

// Nothing is taken before all of it is there: a block cut too early could split the room for the
// next.
bool Store::Impl::AllocateOrEvict(PoolId pool, uint32_t count, std::vector<Handle>* handles) {
  bool reachable = false;  // once it is, evictions lead there
  while (!pools.CanAllocate(pool, count)) {
    if (MoveForBlock(pool)) continue;
    if (!reachable) reachable = CanReach(pool, count);
    if (reachable) {
      if (!EvictForBlock(pool)) return false;
    } else if (std::exchange(move_wait[pool], 0) == kTradeWait) {
      return false;  // it has just looked
    }
  }
  return pools.Allocate(pool, count, handles) == count;
}

// Other pools' holes become this pool's slab: nothing is lost.
bool Store::Impl::MoveForBlock(PoolId pool) {
  if (move_wait[pool] > 0) {
    --move_wait[pool];
    return false;
  }
  const uint64_t bytes =
      pools.GatherRoom(pool, [this](Handle from, Handle to) { MoveBlock(from, to); });
  stats.moved_bytes += bytes;
  if (bytes == 0) move_wait[pool] = kTradeWait;
  return bytes != 0;
}

void Store::Impl::MoveBlock(Handle from, Handle to) {
  Object* object = FindAny(pools.table().at(from).owner);
  memcpy(arena->At(pools.Ref(to).offset), arena->At(pools.Ref(from).offset),
         pools.counts(object->pool).block_bytes);
  *std::find(object->blocks.begin(), object->blocks.end(), from) = to;
  ++stats.moved_blocks;
}

// Whether evicting everything that may go would be enough: if not, nothing should be evicted at
// all.
bool Store::Impl::CanReach(PoolId pool, uint32_t count) const {
  uint64_t handles = pools.table().available();
  for (PoolId id = 0; id < pools.num_pools() && handles < count; ++id)
    handles += pools.counts(id).blocks_evictable;
  if (handles < count) return false;
  const PoolCounts& counts = pools.counts(pool);
  if (counts.blocks_free + counts.blocks_evictable >= count) return true;
  return pools.ReachableBlocks(pool) >= count;
}

Object* Store::Impl::LowestVictim() const {
  Object* lowest = nullptr;
  for (const VictimQueue& queue : victims) {
    Object* object = queue.Lowest();
    if (object == nullptr) continue;
    if (lowest == nullptr ||
        std::pair(object->priority, object->id) < std::pair(lowest->priority, lowest->id)) {
      lowest = object;
    }
  }
  return lowest;
}

// Evicts so that the pool comes nearer to another block: its own cheapest object, or, when that is
// worth more than a whole stretch of other pools' slabs, that stretch. False when nothing may go.
bool Store::Impl::EvictForBlock(PoolId pool) {
  Object* lowest = LowestVictim();
  if (lowest == nullptr) return false;
  if (pools.table().available() == 0) {  // any block's handle will do
    EvictFromMemory(lowest);
    return true;
  }
  Object* own = victims[pool].Lowest();
  if (own == nullptr) {
    if (!EvictWindow(pool, nullptr)) EvictFromMemory(lowest);
    return true;
  }
  if (lowest != own && trade_wait[pool] == 0) {
    if (EvictWindow(pool, own)) return true;
    trade_wait[pool] = kTradeWait;
  } else if (trade_wait[pool] > 0) {
    --trade_wait[pool];
  }
  EvictFromMemory(own);
  return true;
}

bool Store::Impl::EvictWindow(PoolId pool, const Object* own) {
  const std::optional<Window> window = pools.CheapestWindow(pool, policy.inflation());
  if (!window.has_value()) return false;
  if (own != nullptr && window->loss_per_byte >= static_cast<double>(policy.Value(own->priority)))
    return false;
  for (const uint64_t owner : window->owners) EvictFromMemory(FindAny(owner));
  return true;
}

// On disk, its header stays; otherwise it is gone.
void Store::Impl::EvictFromMemory(Object* object) {
  // A stretch of slabs takes worthy objects along; they must not make everything else look old.
  const Object* lowest = LowestVictim();
  policy.OnEvict(lowest == nullptr ? object->priority
                                   : std::min(lowest->priority, object->priority));
  ++stats.evicted_objects;
  stats.evicted_bytes += object->payload_bytes;
  if (!object->on_disk) {
    Drop(object);
    return;
  }
  FreeBlocks(object);
  object->frequency = std::max(1u, object->frequency / 2);
  Refile(object);
}

void Store::Impl::FreeBlocks(Object* object) {
  for (const Handle handle : object->blocks) pools.Free(handle);
  object->blocks.clear();
  object->in_memory = false;
}

void Store::Impl::Drop(Object* object) {
  ++stats.dropped_objects;
  if (object->on_disk) {
    const RecordKey key = KeyOf(object->header);
    if (record_drop_keys.insert(key).second) record_drops.push_back(key);
    object->on_disk = false;
  }
  index.Remove(object);
  ForgetUse(*object);
  object->detached = true;
  Refile(object);
  DestroyIfUnused(object);
}

void Store::Impl::DestroyIfUnused(Object* object) {
  if (!object->detached || object->in_use()) return;
  FreeBlocks(object);
  Refile(object);
  EndUse(object->header.model);
  objects.erase(object->id);
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

// Files the object under what its state now says.
void Store::Impl::Refile(Object* object) {
  const bool evictable = MayEvict(*object);
  const bool demote = ShouldDemote(*object);
  const bool moved = object->filed_priority != object->priority;
  if (object->filed_evictable && (moved || !evictable))
    victims[object->pool].Erase(object->filed_priority, *object);
  if (evictable && (moved || !object->filed_evictable))
    victims[object->pool].Insert(object->priority, object);
  if (evictable != object->filed_evictable || (evictable && moved)) {
    for (const Handle handle : object->blocks)
      pools.SetPriority(handle, evictable ? object->priority : 0);
  }
  if (const bool movable = MayMove(*object); movable != object->filed_movable) {
    for (const Handle handle : object->blocks) pools.SetMovable(handle, movable);
    object->filed_movable = movable;
  }
  if (object->filed_dirty && (moved || !demote)) dirty.Erase(object->filed_priority, *object);
  if (demote && (moved || !object->filed_dirty)) dirty.Insert(object->priority, object);
  object->filed_evictable = evictable;
  object->filed_dirty = demote;
  object->filed_priority = object->priority;
  if (object->set_aside && !object->detached && object->in_memory && !object->on_disk) {
    set_aside.insert(object->id);
  } else {
    object->set_aside = false;
    set_aside.erase(object->id);
  }
  Recount(object);
}

// Keeps the gauges that would otherwise need a walk over all objects.
void Store::Impl::Recount(Object* object) {
  const bool memory = object->in_memory && !object->detached;
  const bool disk = object->on_disk && !object->detached;
  const bool unsaved = memory && !disk;
  if (memory != object->counted_memory) stats.objects_memory += memory ? 1 : -1;
  if (disk != object->counted_disk) stats.objects_disk += disk ? 1 : -1;
  if (unsaved != object->counted_dirty) {
    stats.dirty_bytes += unsaved ? object->payload_bytes : 0 - object->payload_bytes;
  }
  object->counted_memory = memory;
  object->counted_disk = disk;
  object->counted_dirty = unsaved;
}

}  // namespace cistern::storage
