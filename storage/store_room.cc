// Making room: within a tenant's quota, by moving blocks, by evicting.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "storage/store_impl.h"

namespace cistern::storage {
namespace {

// After other pools' slabs turned out to be worth more than the pool's own victims, or too full to
// be moved together, how many evictions pass before it looks again: the look goes over every slab.
constexpr uint32_t kTradeWait = 16;

}  // namespace

uint64_t Store::Impl::MaxBlocks(uint32_t rule, PoolId pool) const {
  const Tenancy& tenancy = tenants.all()[rule];
  const uint64_t blocks = pools.MaxBlocks(pool);
  if (!tenancy.has_quota()) return blocks;
  return std::min(blocks, tenancy.quota_bytes() / pools.counts(pool).stride_bytes);
}

bool Store::Impl::TakeBlocks(uint32_t rule, PoolId pool, uint32_t count,
                             std::vector<Handle>* handles) {
  Tenancy& tenancy = tenants.at(rule);
  const uint64_t bytes = count * pools.counts(pool).stride_bytes;
  if (!tenancy.Allows(bytes)) {
    ++tenancy.stats.over_quota;
    tenancy.wants_room = true;
    return false;
  }
  // Nothing of the tenant's goes for a quota that does it no good.
  const bool reachable =
      !tenancy.Exceeds(bytes) || pools.CanAllocate(pool, count) || CanReach(pool, count);
  if (reachable) TrimTenant(rule, pool, count);
  if (!AllocateOrEvict(pool, count, handles)) return false;
  if (!reachable) TrimTenant(rule, pool, count);
  tenancy.stats.used_bytes += bytes;
  if (options.predict_demand) predictor.Record(pool, count, latest);
  return true;
}

void Store::Impl::GiveBlocks(uint32_t rule, PoolId pool, std::span<const Handle> handles) {
  pools.FreeAll(handles);
  if (options.predict_demand && !handles.empty())
    predictor.Record(pool, -static_cast<int64_t>(handles.size()), latest);
  tenants.at(rule).stats.used_bytes -= handles.size() * pools.counts(pool).stride_bytes;
}

// The tenant makes room for itself before others do; where memory is full, too, in the pool where
// it is wanted.
void Store::Impl::TrimTenant(uint32_t rule, PoolId pool, uint32_t count) {
  const uint64_t bytes = count * pools.counts(pool).stride_bytes;
  while (tenants.at(rule).Exceeds(bytes)) {
    Object* lowest = nullptr;
    if (!pools.CanAllocate(pool, count)) lowest = book.LowestOf(rule, pool);
    if (lowest == nullptr) lowest = book.LowestOfRule(rule);
    if (lowest == nullptr) return;
    EvictFromMemory(lowest, VictimBook::Exit::kChosen);
  }
}

// Nothing is taken before all of it is there: a block cut too early could split the room for the
// next.
bool Store::Impl::AllocateOrEvict(PoolId pool, uint32_t count, std::vector<Handle>* handles) {
  bool reachable = false;  // once it is, evictions lead there
  while (!pools.CanAllocate(pool, count)) {
    // A block that must stay could be moved into what evictions are to clear: not any more then.
    if (!reachable && MoveForBlock(pool)) continue;
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

// At the end of a call that took blocks: the next one finds the room.
void Store::Impl::MakeRoomAhead(absl::Time now) {
  if (!options.predict_demand) return;
  const std::optional<PoolNeed> need = predictor.Next(pools, now);
  if (!need.has_value()) return;
  const uint64_t bytes =
      pools.GatherRoom(need->pool, [this](Handle from, Handle to) { MoveBlock(from, to); });
  stats.moved_bytes += bytes;
  stats.moved_ahead_bytes += bytes;
  if (bytes == 0) predictor.NoRoom(need->pool, now);
}

void Store::Impl::MoveBlock(Handle from, Handle to) {
  Object* object = &objects.slots()[pools.table().at(from).owner];
  memcpy(arena->At(pools.Ref(to).offset), arena->At(pools.Ref(from).offset),
         pools.counts(object->pool()).block_bytes);
  object->blocks.Replace(from, to);
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

// Evicts so that the pool comes nearer to another block: its own cheapest object, or, when that is
// of a higher level or worth more than a whole stretch of other pools' slabs, that stretch. False
// when nothing may go.
bool Store::Impl::EvictForBlock(PoolId pool) {
  Object* lowest = book.Lowest();
  if (lowest == nullptr) return false;
  if (pools.table().available() == 0) {  // any block's handle will do
    EvictFromMemory(lowest, VictimBook::Exit::kChosen);
    return true;
  }
  Object* own = book.LowestOfPool(pool);
  const uint32_t own_level = own == nullptr ? kPriorityLevels : PriorityLevel(own->priority);
  for (uint32_t level = PriorityLevel(lowest->priority); level < own_level; ++level) {
    if (EvictWindow(pool, nullptr, level)) return true;
  }
  if (own == nullptr) {
    EvictFromMemory(lowest, VictimBook::Exit::kChosen);
    return true;
  }
  if (lowest->pool() != pool && trade_wait[pool] == 0) {
    if (EvictWindow(pool, own, own_level)) return true;
    trade_wait[pool] = kTradeWait;
  } else if (trade_wait[pool] > 0) {
    --trade_wait[pool];
  }
  EvictFromMemory(own, VictimBook::Exit::kChosen);
  return true;
}

// A stretch with nothing above `level` in it; if there is `own`, one that is worth less than it.
bool Store::Impl::EvictWindow(PoolId pool, const Object* own, uint32_t level) {
  const uint64_t worthless = (uint64_t{level} << kPriorityLevelShift) + book.inflation();
  const std::optional<Window> window = pools.CheapestWindow(pool, worthless, level);
  if (!window.has_value()) return false;
  if (own != nullptr) {
    const auto worth = [&](const Object& object) {
      const uint64_t priority = BlockPriority(object);
      return static_cast<double>(priority - std::min(priority, worthless));
    };
    // Objects go whole, also what of them lies elsewhere.
    double loss = 0;
    for (const Slot owner : window->owners) {
      const Object& object = objects.slots()[owner];
      loss += worth(object) * static_cast<double>(BlockBytes(object));
    }
    if (loss >= worth(*own) * static_cast<double>(window->bytes)) return false;
  }
  std::vector<ObjectId> owners;
  owners.reserve(window->owners.size());
  for (const Slot owner : window->owners) owners.push_back(objects.slots()[owner].id);
  std::sort(owners.begin(), owners.end());
  for (const ObjectId owner : owners) {
    // A log may have gone with its base.
    if (Object* const object = FindAny(owner); object != nullptr && MayEvict(*object))
      EvictFromMemory(object, VictimBook::Exit::kTaken);
  }
  return true;
}

}  // namespace cistern::storage
