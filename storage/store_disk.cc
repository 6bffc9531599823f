// The tier below: what should be written, what is being written, what is read back. The store
// itself does no I/O.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/store_impl.h"

namespace cistern::storage {
namespace {

// In a row, of writing or reading one object: then a disk that does not say that it is full, or
// that the bytes are damaged, is as good as one that does.
constexpr uint8_t kMaxFailures = 3;
static_assert(kMaxFailures < 1 << 2);  // Object::failed_reads and failed_writes

uint8_t OneMore(uint8_t failures) { return failures < kMaxFailures ? failures + 1 : failures; }

}  // namespace

uint64_t Store::Impl::BlockBytes(const Object& object) const {
  return object.header.num_blocks() * pools.counts(object.pool()).stride_bytes;
}

uint64_t Store::Impl::PressureBytes() const {
  const uint64_t easy = pools.evictable_bytes() + demoting_bytes;
  return pools.used_bytes() > easy ? pools.used_bytes() - easy : 0;
}

// From above the high watermark until it is at or below the low one.
bool Store::Impl::Drains(bool draining, uint64_t pressure, uint64_t bytes) const {
  const auto share = static_cast<double>(pressure) / static_cast<double>(bytes);
  return share > options.high_watermark || (draining && share > options.low_watermark);
}

uint64_t Store::Impl::ExcessBytes(uint64_t pressure, uint64_t bytes) const {
  const auto low = static_cast<uint64_t>(options.low_watermark * static_cast<double>(bytes));
  return pressure > low ? pressure - low : 0;
}

// Cheapest first, of the arena while it drains, of a tenant while its quota does.
std::vector<Object*> Store::Impl::ChooseDemotions(uint64_t max_bytes, bool only_above_watermark) {
  draining = Drains(draining, PressureBytes(), pools.arena_bytes());
  uint64_t excess = draining ? ExcessBytes(PressureBytes(), pools.arena_bytes()) : 0;
  struct Line {
    VictimQueue::Map::const_iterator next, end;
    uint64_t excess = 0;   // bytes that this tenant alone has too many
    bool waiting = false;  // somebody waits for these: they go before all others
  };
  std::vector<Line> lines;
  lines.reserve(tenants.all().size());
  for (Tenancy& tenancy : tenants.all()) {
    tenancy.draining = tenancy.has_quota() &&
                       Drains(tenancy.draining, tenancy.PressureBytes(), tenancy.quota_bytes());
    lines.push_back({.next = tenancy.dirty.map().begin(),
                     .end = tenancy.dirty.map().end(),
                     .excess = tenancy.draining
                                   ? ExcessBytes(tenancy.PressureBytes(), tenancy.quota_bytes())
                                   : 0,
                     .waiting = std::exchange(tenancy.wants_room, false)});
  }
  std::vector<Object*> chosen;
  for (uint64_t bytes = 0; bytes < max_bytes || chosen.empty();) {
    Line* first = nullptr;
    for (Line& line : lines) {
      if (line.next == line.end || (only_above_watermark && excess == 0 && line.excess == 0))
        continue;
      if (first == nullptr || std::pair(!line.waiting, line.next->first) <
                                  std::pair(!first->waiting, first->next->first)) {
        first = &line;
      }
    }
    if (first == nullptr) break;
    Object* object = (first->next++)->second;
    const RecordKey key = KeyOf(object->header);
    // An older record of the same name is still being written or deleted: it must not overtake this
    // one.
    if (records_in_flight.contains(key) || record_drop_keys.contains(key)) continue;
    if (!chosen.empty() && bytes + object->header.payload_bytes() > max_bytes) break;
    chosen.push_back(object);
    bytes += object->header.payload_bytes();
    excess -= std::min(excess, BlockBytes(*object));
    first->excess -= std::min(first->excess, BlockBytes(*object));
  }
  return chosen;
}

std::vector<Demotion> Store::TakeDemotions(uint64_t max_bytes, bool only_above_watermark) {
  Impl& s = *impl_;
  std::vector<Demotion> demotions;
  if (!s.options.has_disk) return demotions;
  // Others could keep a tenant that waits at its quota waiting for ever.
  s.RetrySetAside([](const Tenancy& tenancy) { return tenancy.wants_room; });
  for (Object* object : s.ChooseDemotions(max_bytes, only_above_watermark)) {
    object->demoting = true;
    s.demoting_bytes += s.BlockBytes(*object);
    s.tenants.at(object->rule()).demoting_bytes += s.BlockBytes(*object);
    s.records_in_flight.insert(Impl::KeyOf(object->header));
    s.Refile(object);
    demotions.push_back({.id = object->id,
                         .header = object->header.Full(),
                         .payload_bytes = object->header.payload_bytes(),
                         .blocks = s.Refs(object->blocks)});
  }
  const bool none_left = std::ranges::all_of(
      s.tenants.all(), [](const Tenancy& tenancy) { return tenancy.dirty.map().empty(); });
  if (demotions.empty() && none_left) s.RetrySetAside([](const Tenancy&) { return true; });
  return demotions;
}

// What an earlier write failed for may be written again.
void Store::Impl::RetrySetAside(absl::FunctionRef<bool(const Tenancy&)> of) {
  const std::vector<ObjectId> again(set_aside.begin(), set_aside.end());
  for (const ObjectId id : again) {
    Object* object = FindAny(id);
    if (!of(tenants.at(object->rule()))) continue;
    object->set_aside = false;
    Refile(object);
  }
}

bool Store::DemotionMayHelp(const base::ObjectHeader& header) {
  Impl& s = *impl_;
  const absl::StatusOr<Shape> shape = s.ShapeOf(header);
  if (!s.options.has_disk || !shape.ok()) return false;
  const Tenancy& tenancy = s.tenants.at(s.tenants.RuleOf(header.tenant));
  const uint64_t bytes = shape->num_blocks * s.pools.counts(shape->pool).stride_bytes;
  return (tenancy.Allows(bytes) ? s.stats.dirty_bytes : tenancy.unsaved_bytes) > 0;
}

void Store::ForgetRecord(ObjectId id) {
  Object* object = impl_->FindAttached(id);
  if (object == nullptr || !object->on_disk || object->busy()) return;
  if (!object->in_memory) return impl_->Drop(object);
  impl_->DropRecord(Impl::KeyOf(object->header));  // also if it is never written again
  object->on_disk = false;
  impl_->Refile(object);
}

void Store::ForgetMemory(ObjectId id) {
  Object* object = impl_->FindAttached(id);
  if (object != nullptr && object->on_disk && impl_->MayEvict(*object))
    impl_->EvictFromMemory(object, VictimBook::Exit::kErased);
}

void Store::FinishDemotion(ObjectId id, const absl::Status& written) {
  Impl& s = *impl_;
  Object* object = s.FindAny(id);
  if (object == nullptr || !object->demoting) return;
  object->demoting = false;
  s.demoting_bytes -= s.BlockBytes(*object);
  s.tenants.at(object->rule()).demoting_bytes -= s.BlockBytes(*object);
  const RecordKey key = Impl::KeyOf(object->header);
  s.records_in_flight.erase(key);
  const bool refused = s.records_refused.erase(key) != 0;
  if (written.ok()) {
    ++s.stats.demoted_objects;
    s.stats.demoted_bytes += object->header.payload_bytes();
    if (object->detached) {  // replaced meanwhile: the record is of nobody
      s.DropRecord(key);
    } else {
      s.MarkSaved(object);
    }
  } else {
    // What lies there under this name has come and was refused, or may come when this is gone.
    if (refused || (object->detached && s.records_may_come)) s.DropRecord(key);
    ++s.stats.demotion_failures;
    object->set_aside = true;
    if (!absl::IsDeadlineExceeded(written)) object->failed_writes = OneMore(object->failed_writes);
    object->droppable = absl::IsResourceExhausted(written) || absl::IsInvalidArgument(written) ||
                        object->failed_writes >= kMaxFailures;
  }
  s.Refile(object);
  if (object->doomed && !object->detached) {
    s.Drop(object);
  } else {
    s.DestroyIfUnused(object);
  }
}

Staging Store::BeginStage(ObjectId id, absl::Time now) {
  Impl& s = *impl_;
  s.latest = std::max(s.latest, now);
  Staging staging;
  std::vector<Handle> blocks;
  Object* object = s.FindAttached(id);
  if (object == nullptr || (!object->in_memory && !object->on_disk)) return staging;
  if (object->in_memory) {
    staging.outcome = Staging::Outcome::kInMemory;
  } else if (object->staging) {
    staging.outcome = Staging::Outcome::kInProgress;
  } else if (object->header.num_blocks() > s.MaxBlocks(object->rule(), object->pool())) {
    staging.outcome = Staging::Outcome::kGone;  // written when the arena, or the quota, was larger
  } else if (const uint32_t rule = object->rule(), pool = object->pool(),
             count = object->header.num_blocks();
             !s.TakeBlocks(rule, pool, count, &blocks)) {
    ++s.stats.no_room;
    staging.outcome = Staging::Outcome::kNoRoom;
  } else if (s.FindAttached(id) == nullptr) {  // a log: the state that it needs has made the room
    s.GiveBlocks(rule, pool, blocks);
  } else {
    object->blocks.Assign(blocks);
    for (const Handle handle : object->blocks) s.pools.SetOwner(handle, object->slot);
    object->staging = true;
    s.Touch(object, now);
    s.Refile(object);
    staging.outcome = Staging::Outcome::kBegun;
    staging.header = object->header.Full();
    staging.blocks = s.Refs(object->blocks);
    s.MakeRoomAhead(s.latest);
  }
  return staging;
}

void Store::FinishStage(ObjectId id, const absl::Status& read) {
  Impl& s = *impl_;
  Object* object = s.FindAny(id);
  if (object == nullptr || !object->staging) return;
  object->staging = false;
  const bool corrupt = absl::IsDataLoss(read);
  if (corrupt) ++s.stats.corrupt_records;
  if (read.ok()) {
    ++s.stats.staged_objects;
    s.stats.staged_bytes += object->header.payload_bytes();
    object->in_memory = true;
    object->failed_reads = 0;
  } else {
    const bool tried = !absl::IsResourceExhausted(read) && !absl::IsCancelled(read);
    if (tried) object->failed_reads = OneMore(object->failed_reads);
    s.FreeBlocks(object);
  }
  s.Refile(object);
  // As long as it is found, nobody publishes it again: what cannot be read is given up.
  const bool lost = corrupt || absl::IsNotFound(read) || object->failed_reads >= kMaxFailures;
  if ((lost || object->doomed) && !object->detached) {
    s.Drop(object);
  } else {
    s.DestroyIfUnused(object);
  }
}

absl::Status Store::AddDiskRecord(const base::ObjectHeader& header, absl::Time now) {
  Impl& s = *impl_;
  if (!s.options.has_disk) return absl::FailedPreconditionError("this store has no disk");
  CISTERN_ASSIGN_OR_RETURN(const Shape shape, s.ShapeOf(header));
  CISTERN_RETURN_IF_ERROR(s.CheckBase(header));
  const RecordKey key = Impl::KeyOf(header);
  if (s.records_in_flight.contains(key)) s.records_refused.insert(key);
  Object* known = s.index.Exact(key.content, key.context);
  if ((known != nullptr && known->on_disk) || s.records_in_flight.contains(key) ||
      s.record_drop_keys.contains(key)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "an object with content ", header.content.ToHex(), " in this context is already known"));
  }
  if (shape.num_blocks > s.MaxBlocks(s.tenants.RuleOf(header.tenant), shape.pool)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "an object of ", shape.payload_bytes,
        " bytes was written when the memory, or its tenant's quota, was larger; it cannot be read "
        "into it"));
  }
  Handover handover;
  if (known != nullptr) {
    if (known->header == header) {
      s.MarkSaved(known);
      return absl::OkStatus();
    }
    if (s.options.serves_above || !Impl::Improves(FormOf(header), *known->header.form())) {
      s.DropRecord(key);
      return absl::AlreadyExistsError("another object has its name by now; the record goes");
    }
    handover = s.HandoverOf(*known);
    s.Detach(known);
  }
  Object* object = s.Attach(header, shape);
  object->on_disk = true;
  s.TakeOver(object, handover);
  s.Touch(object, now);
  s.Refile(object);
  s.LimitVariants(*object, /*spare=*/nullptr);
  return absl::OkStatus();
}

void Store::ExpectRecords(bool may_come) {
  impl_->records_may_come = may_come && impl_->options.has_disk;
  if (impl_->JudgesLogs()) impl_->DropAllLogsWithoutBase();
}

void Store::Impl::DropRecord(const RecordKey& key) {
  if (record_drop_keys.insert(key).second) record_drops.push_back(key);
}

void Store::Impl::MarkSaved(Object* object) {
  object->on_disk = true;
  object->failed_writes = 0;
  object->droppable = false;
  Refile(object);
}

std::vector<RecordKey> Store::TakeRecordDrops() {
  impl_->record_drop_keys.clear();
  return std::exchange(impl_->record_drops, {});
}

}  // namespace cistern::storage
