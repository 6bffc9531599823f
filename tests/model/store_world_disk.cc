// The disk's part of World, and the comparison of the store with the map.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "tests/model/store_world.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::model_test {

using base::Lineage;
using base::ObjectHeader;
using storage::BlocksHold;
using storage::FillBlocks;
using storage::Staging;
using storage::Where;

// The node's promise: what was dropped is deleted before anything that was taken later is written.
void World::FlushDrops() {
  for (const auto& key : store_->TakeRecordDrops()) {
    Note(key.content.lo);
    const auto known = known_.find({key.content, key.context});
    if (known != known_.end() && known->second.on_disk)
      Fail("the record of an object on disk was dropped");
    disk_.erase({key.content, key.context});
    unloaded_.erase({key.content, key.context});
    refused_.erase({key.content, key.context});
  }
}

void World::Demote() {
  if (Roll(2) == 0) FlushDrops();
  const auto demotions = store_->TakeDemotions(1 + Roll(20000), Roll(4) == 0);
  for (const auto& demotion : demotions) {
    Note(demotion.id);
    const Known* known = ById(demotion.id);
    if (known == nullptr || !known->in_memory || known->on_disk)
      return Fail("demoted what should not be");
    if (Busy(demotion.id)) return Fail("demoted twice");
    for (const InFlight& other : demoting_) {
      if (other.header.content == demotion.header.content &&
          other.header.context == demotion.header.context) {
        return Fail("two writers of one record");
      }
    }
    demoting_.push_back({.id = demotion.id,
                         .header = demotion.header,
                         .seed = known->seed,
                         .blocks = demotion.blocks});
  }
}

void World::FinishDemotion() {
  if (demoting_.empty()) return;
  const InFlight done = Take(&demoting_, Roll(demoting_.size()));
  if (!BlocksHold(*arena_, done.blocks, BlockBytes(done.header), done.seed))
    Fail("bytes changed while demoting");
  absl::Status written;
  switch (Roll(7)) {
    case 0:
      written = absl::ResourceExhaustedError("disk full");
      break;
    case 1:
      written = absl::UnavailableError("I/O error");
      break;
    case 2:
      written = absl::DeadlineExceededError("no room yet");
      break;
    default:
      break;
  }
  if (written.ok()) {
    disk_[{done.header.content, done.header.context}] = done.seed;
    unloaded_.erase({done.header.content, done.header.context});
    refused_.erase({done.header.content, done.header.context});
  }
  store_->FinishDemotion(done.id, written);
  Known* known = ById(done.id);
  if (known == nullptr) return;  // replaced meanwhile
  if (written.ok()) known->on_disk = true;
  if (!absl::IsDeadlineExceeded(written))
    known->failed_writes = written.ok() ? 0 : known->failed_writes + 1;
  known->droppable =
      !written.ok() && (absl::IsResourceExhausted(written) || known->failed_writes >= 3);
  if (!known->doomed) return;
  Forget(*known);
  ForgetOrphans();
}

void World::Stage() {
  if (known_.empty()) return;
  const Known& known =
      std::next(known_.begin(), static_cast<ptrdiff_t>(Roll(known_.size())))->second;
  const storage::ObjectId id = known.id;
  const uint64_t block_bytes = BlockBytes(known.header);
  const Staging staging = store_->BeginStage(id, now_);
  Note(static_cast<uint64_t>(staging.outcome));
  const bool in_progress =
      std::any_of(staging_.begin(), staging_.end(), [id](const auto& f) { return f.id == id; });
  if (known.in_memory != (staging.outcome == Staging::Outcome::kInMemory))
    return Fail("in memory, or not?");
  if (in_progress != (staging.outcome == Staging::Outcome::kInProgress))
    return Fail("in progress, or not?");
  // Its base has gone for its room.
  const bool own_room = known.header.kind == base::ObjectKind::kLog && !in_progress &&
                        store_->Describe(id).where == Where::kMiss;
  if (own_room != (staging.outcome == Staging::Outcome::kGone)) return Fail("it is not gone");
  if (staging.outcome == Staging::Outcome::kBegun) {
    ById(id)->last_use = now_;
    staging_.push_back(
        {.id = id, .header = staging.header, .seed = known.seed, .blocks = staging.blocks});
  }
  Sync(kEvicts, block_bytes);
}

void World::FinishStage() {
  if (staging_.empty()) return;
  const InFlight done = Take(&staging_, Roll(staging_.size()));
  Known* known = ById(done.id);
  absl::Status read;
  const uint64_t dice = Roll(10);
  if (dice == 0) read = absl::DataLossError("checksum");
  if (dice == 1) read = absl::UnavailableError("I/O error");
  if (read.ok() && known != nullptr) {
    const auto record = disk_.find({done.header.content, done.header.context});
    if (record == disk_.end()) return Fail("the record of an object on disk is gone");
    if (record->second != done.seed) return Fail("the record holds other bytes");
    FillBlocks(*arena_, done.blocks, BlockBytes(done.header), record->second);
  }
  store_->FinishStage(done.id, read);
  if (known == nullptr) return;
  known->in_memory = read.ok();
  known->failed_reads = read.ok() ? 0 : known->failed_reads + 1;
  if (!known->doomed && !absl::IsDataLoss(read) && known->failed_reads < 3) return;
  Forget(*known);
  ForgetOrphans();
}

// The process dies and another begins with what is on disk.
void World::Restart() {
  FlushDrops();
  std::map<Name, ObjectHeader> headers = unloaded_;
  headers.merge(refused_);  // their demotions have not ended, and now never will
  refused_.clear();
  for (const auto& [name, known] : known_) {
    if (known.on_disk) headers[name] = known.header;
  }
  if (headers.size() != disk_.size()) {
    // A demotion may have written a record whose object was replaced: it is dropped with the next
    // FlushDrops.
    return Fail(absl::StrCat(disk_.size(), " records, ", headers.size(), " objects on disk"));
  }
  known_.clear();
  held_.clear();
  writing_.clear();
  demoting_.clear();
  staging_.clear();
  arena_ = storage::TestArena(options_.arena_bytes, options_.max_handles);
  store_ = std::make_unique<storage::Store>(StoreOptionsNow(), arena_.get());
  for (const auto& model : models_) store_->RegisterModel(model).IgnoreError();
  unloaded_ = std::move(headers);
  store_->ExpectRecords(true);
  records_may_come_ = true;
  if (options_.loads_later) return;
  while (!unloaded_.empty()) LoadOne(unloaded_.begin()->first);
  EndLoading();
}

// From here on logs are judged.
void World::EndLoading() {
  store_->ExpectRecords(false);
  records_may_come_ = false;
  ForgetOrphans();
}

void World::LoadSome() {
  FlushDrops();  // what is dropped meanwhile is deleted below, before it can be come to
  if (unloaded_.empty()) {
    if (records_may_come_) EndLoading();
    return;
  }
  LoadOne(std::next(unloaded_.begin(), static_cast<ptrdiff_t>(Roll(unloaded_.size())))->first);
}

// What the tier gives has neither been written anew nor deleted since the start.
void World::LoadOne(const Name& given) {
  const Name name = given;
  const ObjectHeader header = unloaded_.extract(name).mapped();
  const auto is_it = [&](const InFlight& f) {
    return Name(f.header.content, f.header.context) == name;
  };
  const bool in_flight = std::any_of(demoting_.begin(), demoting_.end(), is_it);
  const auto known = known_.find(name);
  const auto exact = [](const ObjectHeader& h) { return h.lineage == Lineage::kExact; };
  const absl::Status added = store_->AddDiskRecord(header, now_);
  Note(static_cast<uint64_t>(added.code()));
  records_met_ += in_flight || known != known_.end() ? 1 : 0;
  if (in_flight) {
    // It is not given again: it is replaced, or deleted when the write fails.
    if (!absl::IsFailedPrecondition(added)) Fail("took a record that is being replaced");
    refused_[name] = header;
    return;
  }
  if (known != known_.end() && known->second.on_disk) return Fail("two records of one name");
  if (known != known_.end() && known->second.header == header) {
    if (!added.ok()) Fail(added.ToString());
    known->second.on_disk = true;
    known->second.failed_writes = 0;
    known->second.droppable = false;
    disk_[name] = known->second.seed;  // the same name is of the same bytes
    return;
  }
  if (known != known_.end() && (exact(known->second.header) || !exact(header))) {
    if (!absl::IsAlreadyExists(added)) Fail("took a worse record");
    return;  // it is deleted with the next drops
  }
  if (!added.ok()) return Fail(added.ToString());
  Known taken{.header = header, .seed = disk_.at(name), .last_use = now_, .on_disk = true};
  if (known != known_.end()) taken.pinned = known->second.pinned;
  if (!absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)) &&
      store_->Find({.content = name.first, .context = name.second}).object.where != Where::kMiss)
    Fail("added one record twice");
  taken.id = store_->Find({.content = name.first, .context = name.second}).object.id;
  if (known != known_.end()) Forget(known->second);
  known_[name] = taken;
  Sync(kLimitsVariants);
}

bool World::Evictable(const Known& known) const {
  return known.in_memory && known.leases == 0 && !known.pinned && !Busy(known.id) &&
         (!options_.has_disk || known.on_disk || known.droppable);
}

// Tenant 2 comes before all others, 1 before 0; 1 makes room within its quota out of its own.
void World::CheckTurns(const std::vector<ObjectHeader>& victims, uint64_t wanted_bytes) {
  if (options_.quota_bytes == 0) return;
  for (const ObjectHeader& victim : victims) {
    if (BlockBytes(victim) != wanted_bytes || victim.tenant == 1) continue;
    for (const auto& [name, known] : known_) {
      const bool lower = victim.tenant == 2 && known.header.tenant != 2;
      if (lower && BlockBytes(known.header) == wanted_bytes && Evictable(known))
        Fail("an object went before one of a lower priority");
    }
  }
}

void World::Sync(unsigned allowed, uint64_t wanted_bytes) {
  std::vector<ObjectHeader> victims, unexplained;
  for (auto it = known_.begin(); it != known_.end();) {
    Known& known = it->second;
    const Name name = it->first;
    ++it;
    const auto found = store_->Find({.content = name.first, .context = name.second});
    const bool there = found.object.where != Where::kMiss && found.object.id == known.id;
    const bool held = known.leases > 0 || known.pinned || Busy(known.id);
    if (there) {
      if (*found.object.header != known.header) Fail("the header has changed");
      const bool in_memory = found.object.where == Where::kMemory;
      if (in_memory != known.in_memory) {
        if (in_memory || held || !known.on_disk || (allowed & kEvicts) == 0)
          Fail("it left memory and must not");
        victims.push_back(known.header);
        known.in_memory = in_memory;
      }
      continue;
    }
    const bool evictable = (allowed & kEvicts) != 0 && known.in_memory && !known.on_disk &&
                           (!options_.has_disk || known.droppable);
    uint64_t variants = 0;
    for (const auto& [other, unused] : known_) variants += other.first == name.first ? 1 : 0;
    const bool surplus = (allowed & kLimitsVariants) != 0 && variants > 3;
    const bool log = known.header.kind == base::ObjectKind::kLog && known.header.base_position > 0;
    if (held || (!evictable && !surplus)) {
      unexplained.push_back(known.header);
    } else if (evictable && !log) {  // a log may have gone with its base, whatever its turn
      victims.push_back(known.header);
    }
    Forget(known);
  }
  for (const ObjectHeader& header : unexplained) {
    if (!IsOrphan(header)) Fail("an object vanished that must not");
    ++logs_followed_;
  }
  for (const auto& [name, known] : known_) {
    if (IsOrphan(known.header)) Fail("a log without its state was kept");
  }
  CheckTurns(victims, wanted_bytes);
}

void World::CheckBytes() {
  for (const Held& held : held_) {
    if (!BlocksHold(*arena_, held.blocks, held.block_bytes, held.seed))
      return Fail("leased bytes have changed");
  }
  for (const Writing& w : writing_) {
    if (!BlocksHold(*arena_, w.blocks, BlockBytes(w.header), w.seed))
      return Fail("reserved bytes have changed");
  }
  // And what nobody holds: lease it for a moment.
  std::vector<storage::ObjectId> ids;
  store_->List({.all = true}, 0, 1000,
               [&](const storage::ObjectView& view, bool, uint32_t, double) {
                 if (view.where == Where::kMemory) ids.push_back(view.id);
               });
  for (const storage::ObjectId id : ids) {
    const auto lease = store_->Acquire(99, id, now_);
    Known* known = ById(id);
    if (!lease.ok() || known == nullptr) return Fail("a listed object is gone");
    if (!BlocksHold(*arena_, lease->blocks, BlockBytes(known->header), known->seed))
      Fail("stored bytes have changed");
    known->last_use = now_;
    if (!store_->Release(99, lease->id).ok()) Fail("could not release");
  }
}

void World::Settle() {
  last_step_ = "settle";
  for (storage::SessionId session = 1; session <= 3; ++session) store_->CloseSession(session);
  for (size_t i = writing_.size(); i-- > 0;) {
    for (; writing_[i].writers > 0; --writing_[i].writers) store_->EndWrite(writing_[i].id);
  }
  writing_.clear();
  while (!held_.empty()) ReleaseAt(held_.size() - 1);
  while (!demoting_.empty()) FinishDemotion();
  while (!staging_.empty()) FinishStage();
  Sync(kNothing);
  FlushDrops();
  while (!unloaded_.empty()) LoadOne(unloaded_.begin()->first);
  if (records_may_come_) EndLoading();
  store_->SetPinned({.all = true}, false);
  std::map<storage::ObjectId, Name> all;
  for (auto& [name, known] : known_) {
    known.pinned = false;
    all[known.id] = name;
  }
  std::vector<Name> names;
  for (const auto& [id, name] : all) names.push_back(name);
  const uint64_t objects = ForgetInOrder(names);
  if (store_->Evict({.all = true}) != objects) Fail("not everything could be evicted");
  known_.clear();
  if (options_.has_disk) FlushDrops();
  if (!disk_.empty()) Fail("records are left that nobody knows");
  if (store_->Stats().used_bytes != 0) Fail("blocks are left that nobody uses");
  if (store_->Stats().free_bytes != store_->Stats().arena_bytes)
    Fail("an empty arena is not all free");
  if (const absl::Status status = store_->CheckInvariants(); !status.ok())
    Fail(std::string(status.message()));
}

}  // namespace cistern::model_test
