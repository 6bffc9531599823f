#include "storage/pool/asymmetric_pools.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/round.h"
#include "base/status_macros.h"

namespace cistern::storage {
namespace {

// A slab is about this share of the arena, within these bounds: small enough that a small arena can
// serve many sizes and that emptying one by moving its blocks takes no longer than a millisecond or
// two, large enough that cutting one is rare.
constexpr uint64_t kSlabsPerArena = 64;
constexpr uint64_t kMinSlabBytes = 64 << 10;
constexpr uint64_t kMaxSlabBytes = 4 << 20;

}  // namespace

AsymmetricPools::AsymmetricPools(Arena* arena)
    : arena_bytes_(arena->slab_bytes_total()),
      table_(arena),
      extents_(arena->slabs_offset(), arena_bytes_) {}

absl::StatusOr<PoolId> AsymmetricPools::PoolFor(uint64_t block_bytes) {
  if (block_bytes == 0) return absl::InvalidArgumentError("a block has at least one byte");
  if (const auto it = pool_by_size_.find(block_bytes); it != pool_by_size_.end()) return it->second;
  if (pools_.size() >= kMaxPools) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kMaxPools, " block sizes already"));
  }
  Pool pool;
  pool.counts.block_bytes = block_bytes;
  pool.counts.stride_bytes = base::RoundUp(block_bytes, kBlockAlign);
  const uint64_t target = std::clamp(arena_bytes_ / kSlabsPerArena, kMinSlabBytes, kMaxSlabBytes);
  pool.slab_blocks = static_cast<uint32_t>(
      std::clamp<uint64_t>(target / pool.counts.stride_bytes, 1, Slab::kMaxBlocks));
  const PoolId id = static_cast<PoolId>(pools_.size());
  pools_.push_back(pool);
  pool_by_size_[block_bytes] = id;
  return id;
}

// As CutSlab cuts them: whole slabs, each rounded up, then one of what is left.
uint64_t AsymmetricPools::BlocksIn(PoolId pool, uint64_t extent_bytes) const {
  const uint64_t stride = pools_[pool].counts.stride_bytes;
  const uint64_t slab_blocks = pools_[pool].slab_blocks;
  const uint64_t slab_bytes = base::RoundUp(slab_blocks * stride, kSlabAlign);
  return extent_bytes / slab_bytes * slab_blocks + extent_bytes % slab_bytes / stride;
}

uint64_t AsymmetricPools::MaxBlocks(PoolId pool) const {
  return std::min<uint64_t>(BlocksIn(pool, arena_bytes_), table_.live() + table_.available());
}

uint64_t AsymmetricPools::Supply(PoolId pool, uint32_t enough) const {
  const PoolCounts& counts = pools_[pool].counts;
  const uint64_t most = std::min(enough, table_.available());
  uint64_t blocks = counts.blocks_free;
  for (auto it = extents_.free_by_size().rbegin();
       blocks < most && it != extents_.free_by_size().rend(); ++it) {
    const uint64_t here = BlocksIn(pool, it->first);
    if (here == 0) break;  // largest first: once none fits, none will
    blocks += here;
  }
  return std::min(blocks, most);
}

bool AsymmetricPools::CutSlab(PoolId pool_id) {
  Pool& pool = pools_[pool_id];
  const uint64_t stride = pool.counts.stride_bytes;
  uint64_t blocks = pool.slab_blocks;
  if (base::RoundUp(blocks * stride, kSlabAlign) > extents_.largest_free())
    blocks = extents_.largest_free() / stride;
  if (blocks == 0) return false;
  const uint64_t bytes = base::RoundUp(blocks * stride, kSlabAlign);
  SlabId id = static_cast<SlabId>(slabs_.size());
  if (unused_slab_ids_.empty()) {
    slabs_.emplace_back();
  } else {
    id = unused_slab_ids_.back();
    unused_slab_ids_.pop_back();
  }
  const uint64_t offset = *extents_.Take(bytes, id);  // largest_free() has said that there is one
  const auto count = static_cast<uint32_t>(blocks);
  slabs_[id].Open(pool_id, offset, bytes, count, table_.Bind(count));
  ++pool.counts.slabs;
  pool.counts.blocks_free += blocks;
  free_block_bytes_ += blocks * stride;
  LinkOpen(id);
  return true;
}

void AsymmetricPools::ReturnSlab(SlabId id) {
  Slab& slab = slabs_[id];
  Pool& pool = pools_[slab.pool];
  if (!slab.closing) UnlinkOpen(id);
  --pool.counts.slabs;
  pool.counts.blocks_free -= slab.capacity;
  free_block_bytes_ -= slab.capacity * pool.counts.stride_bytes;
  if (slab.closing) {  // what it held becomes one stretch with its neighbours when all are empty
    extents_.Hold(slab.offset);
    held_.push_back(slab.offset);
  } else {
    extents_.Give(slab.offset);
  }
  if (slab.bound()) table_.Unbind(slab.first_handle);
  slab = Slab{};
  unused_slab_ids_.push_back(id);
}

void AsymmetricPools::LinkOpen(SlabId id) {
  Slab& slab = slabs_[id];
  Pool& pool = pools_[slab.pool];
  slab.previous = pool.last_open;
  slab.next = kFreeExtent;
  (pool.last_open == kFreeExtent ? pool.first_open : slabs_[pool.last_open].next) = id;
  pool.last_open = id;
}

void AsymmetricPools::UnlinkOpen(SlabId id) {
  const Slab& slab = slabs_[id];
  Pool& pool = pools_[slab.pool];
  (slab.previous == kFreeExtent ? pool.first_open : slabs_[slab.previous].next) = slab.next;
  (slab.next == kFreeExtent ? pool.last_open : slabs_[slab.next].previous) = slab.previous;
}

// Needs a handle that may be used. When there are only those that other slabs keep for their free
// blocks, one of these gives up its own.
Handle AsymmetricPools::NameBlock(SlabId id, uint32_t index) {
  Slab& slab = slabs_[id];
  if (slab.bound()) {
    table_.Name(slab.first_handle + index, id, index);
    return slab.first_handle + index;
  }
  Handle handle = table_.Mint(id, index);
  if (handle == kNoHandle) {
    LoosenAnyRow();
    handle = table_.Mint(id, index);
  }
  slab.slots[index] = handle;
  return handle;
}

void AsymmetricPools::LoosenRow(Slab& slab) {
  table_.Loosen(slab.first_handle, slab.capacity);
  slab.LeaveRow();
}

void AsymmetricPools::LoosenAnyRow() {
  const auto spare = [](const Slab& slab) { return slab.bound() && !slab.full(); };
  LoosenRow(*std::find_if(slabs_.begin(), slabs_.end(), spare));
}

uint32_t AsymmetricPools::Allocate(PoolId pool_id, uint32_t count, std::vector<Handle>* handles) {
  uint32_t taken = 0;
  for (; taken < count && table_.available() > 0; ++taken) {
    if (pools_[pool_id].first_open == kFreeExtent && !CutSlab(pool_id)) break;
    Pool& pool = pools_[pool_id];
    const SlabId id = pool.first_open;
    Slab& slab = slabs_[id];
    const uint32_t index = slab.TakeIndex();
    const Handle handle = NameBlock(id, index);
    if (slab.full()) UnlinkOpen(id);
    handles->push_back(handle);
    ++pool.counts.blocks_used;
    --pool.counts.blocks_free;
    used_bytes_ += pool.counts.stride_bytes;
    free_block_bytes_ -= pool.counts.stride_bytes;
  }
  return taken;
}

absl::StatusOr<Handle> AsymmetricPools::Resolve(const base::BlockRef& ref) const {
  CISTERN_RETURN_IF_ERROR(table_.Check(ref.handle, ref.generation));
  if (OffsetOf(table_.at(ref.handle)) != ref.offset) {
    return absl::FailedPreconditionError(
        absl::StrCat("block handle ", ref.handle, " does not lie at ", ref.offset));
  }
  return ref.handle;
}

void AsymmetricPools::Free(Handle handle) {
  table_.PrefetchRetire(handle);
  FreeOne(handle);
  PageTable::PublishRetired();
}

void AsymmetricPools::FreeOne(Handle handle) {
  if (!table_.IsLive(handle)) return;
  SetPriority(handle, 0);
  SetMovable(handle, false);
  const SlabId id = table_.at(handle).slab;
  const uint32_t index = table_.at(handle).index;
  Slab& slab = slabs_[id];
  Pool& pool = pools_[slab.pool];
  const bool was_full = slab.full();
  slab.GiveIndex(index);
  if (!slab.bound()) {
    table_.Retire(handle);
  } else if (!table_.RetireBound(handle)) {
    LoosenRow(slab);
  }
  --pool.counts.blocks_used;
  ++pool.counts.blocks_free;
  used_bytes_ -= pool.counts.stride_bytes;
  free_block_bytes_ += pool.counts.stride_bytes;
  if (was_full && !slab.closing) LinkOpen(id);
  if (slab.used == 0) ReturnSlab(id);
}

void AsymmetricPools::FreeAll(absl::Span<const Handle> handles) {
  constexpr size_t kAhead = 8;
  for (size_t i = 0; i < std::min(kAhead, handles.size()); ++i) table_.PrefetchRetire(handles[i]);
  for (size_t i = 0; i < handles.size(); ++i) {
    if (i + kAhead < handles.size()) table_.PrefetchRetire(handles[i + kAhead]);
    FreeOne(handles[i]);
  }
  PageTable::PublishRetired();
}

void AsymmetricPools::SetPriority(Handle handle, uint64_t priority) {
  PageEntry& entry = table_.at(handle);
  if (entry.priority == priority) return;
  Slab& slab = slabs_[entry.slab];
  Pool& pool = pools_[slab.pool];
  if (entry.priority != 0) {
    --slab.evictable;
    slab.priority_sum -= entry.priority;
    --slab.levels[PriorityLevel(entry.priority)];
    --pool.counts.blocks_evictable;
    evictable_bytes_ -= pool.counts.stride_bytes;
  }
  if (priority != 0) {
    ++slab.evictable;
    slab.priority_sum += priority;
    ++slab.levels[PriorityLevel(priority)];
    ++pool.counts.blocks_evictable;
    evictable_bytes_ += pool.counts.stride_bytes;
  }
  entry.priority = priority;
}

void AsymmetricPools::SetMovable(Handle handle, bool movable) {
  PageEntry& entry = table_.at(handle);
  if (entry.movable == (movable ? 1 : 0)) return;
  slabs_[entry.slab].movable += movable ? 1 : -1;
  entry.movable = movable ? 1 : 0;
}

}  // namespace cistern::storage
