// Models, reading, deleting, verifying; memory_tier_write.cc writes.
#include "storage/tier/memory_tier.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/tier/compare_record.h"
#include "storage/tier/memory_tier_session.h"
#include "storage/tier/record_slices.h"

namespace cistern::storage {

MemoryTier::MemoryTier(const MemoryTierOptions& options, Parts parts)
    : options_(options), parts_(std::move(parts)) {}

void MemoryTier::Look() const {
  if (parts_.look) parts_.look();
}

MemoryTierStats MemoryTier::Stats() const {
  MemoryTierStats stats;
  stats.copied_in = counters_.copied_in;
  stats.copied_in_bytes = counters_.copied_in_bytes;
  stats.already_there = counters_.already_there;
  stats.copied_out = counters_.copied_out;
  stats.copied_out_bytes = counters_.copied_out_bytes;
  stats.staged = counters_.staged;
  stats.read_through = counters_.read_through;
  stats.waits = counters_.waits;
  stats.refused = counters_.refused;
  return stats;
}

absl::Status MemoryTier::PutModel(const base::ModelSpec& spec) {
  bool is_new = false;
  CISTERN_RETURN_IF_ERROR(parts_.store->With([&](Store& store) {
    is_new = store.FindModel(spec.Fingerprint()) == nullptr;
    return store.RegisterModel(spec);
  }));
  return is_new && parts_.below != nullptr ? parts_.below->PutModel(spec) : absl::OkStatus();
}

// The store forgets by itself.
absl::Status MemoryTier::DeleteModel(const base::Key& fingerprint) {
  return parts_.below == nullptr ? absl::OkStatus() : parts_.below->DeleteModel(fingerprint);
}

absl::Status MemoryTier::ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) {
  parts_.store->With([&](Store& store) {
    for (const base::ModelSpec* spec : store.Models()) each(*spec);
  });
  return absl::OkStatus();
}

absl::Status MemoryTier::ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) {
  parts_.store->With([&](Store& store) {
    store.List({.all = true}, 0, std::numeric_limits<uint32_t>::max(),
               [&](const ObjectView& view, bool /*pinned*/, uint32_t /*leases*/, double /*value*/) {
                 if (!condemned_.contains(view.id)) each(view.header->Full());
               });
  });
  return absl::OkStatus();
}

// This object itself: what serves in its place by a link is another one.
ObjectView MemoryTier::FindOwn(Store& store, const RecordKey& key) {
  const Found found = store.Find({.content = key.content, .context = key.context});
  if (found.object.where == Where::kMiss || found.object.header->context != key.context) return {};
  return condemned_.contains(found.object.id) ? ObjectView{} : found.object;
}

bool MemoryTier::InMemory(const RecordKey& key) {
  return parts_.store->With(
      [&](Store& store) { return FindOwn(store, key).where == Where::kMemory; });
}

bool MemoryTier::Contains(const RecordKey& key) {
  return parts_.store->With(
      [&](Store& store) { return FindOwn(store, key).where != Where::kMiss; });
}

absl::Status MemoryTier::Lease(Store& store, Source& source) {
  absl::StatusOr<storage::Lease> lease =
      store.Acquire(kTierSession, source.id, parts_.clock->Now());
  if (absl::IsResourceExhausted(lease.status()))  // of leases; they come back
    return absl::UnavailableError(lease.status().message());
  CISTERN_RETURN_IF_ERROR(lease.status());
  CISTERN_ASSIGN_OR_RETURN(const StoredHeader* header, store.LeasedHeader(kTierSession, lease->id));
  CISTERN_ASSIGN_OR_RETURN(const ObjectShape shape, ShapeOf(*header, options_.blob_block_bytes));
  source.kind = Source::Kind::kLeased;
  source.lease = lease->id;
  source.runs = RecordSlices(parts_.arena->data(), shape, lease->blocks);
  return absl::OkStatus();
}

absl::StatusOr<MemoryTier::Source> MemoryTier::Locate(Store& store, const RecordKey& key) {
  const ObjectView view = FindOwn(store, key);
  if (view.where == Where::kMiss) return absl::NotFoundError("no such object in memory");
  Source source;
  source.id = view.id;
  if (view.where == Where::kMemory) {
    CISTERN_RETURN_IF_ERROR(Lease(store, source));
    return source;
  }
  CISTERN_ASSIGN_OR_RETURN(const ObjectShape shape,
                           ShapeOf(*view.header, options_.blob_block_bytes));
  const Staging staging = store.BeginStage(view.id, parts_.clock->Now());
  if (staging.outcome != Staging::Outcome::kBegun) return source;  // past memory, then
  source.kind = Source::Kind::kStaging;
  source.runs = RecordSlices(parts_.arena->data(), shape, staging.blocks);
  return source;
}

absl::Status MemoryTier::Stage(const RecordKey& key, Source& source) {
  const absl::Status read = parts_.below->Read(key, source.runs);
  absl::Status leased = parts_.store->With([&](Store& store) -> absl::Status {
    store.FinishStage(source.id, read);
    return read.ok() ? Lease(store, source) : read;
  });
  if (!leased.ok()) {
    RoomCame();
    Look();  // a record that is damaged is deleted
    return leased;
  }
  ++counters_.staged;
  return absl::OkStatus();
}

// Somebody else is staging it, or there is no room for it. A record that cannot be read has no
// place here any more.
absl::Status MemoryTier::ReadThrough(const RecordKey& key, ObjectId id, const Runs& payload) {
  absl::Status read = parts_.below->Read(key, payload);
  if (absl::IsDataLoss(read) || absl::IsNotFound(read)) {
    parts_.store->With([&](Store& store) { store.ForgetRecord(id); });
    Look();
  }
  if (read.ok()) ++counters_.read_through;
  return read;
}

void MemoryTier::Release(const Source& source) {
  parts_.store->With([&](Store& store) {
    store.Release(kTierSession, source.lease).IgnoreError();
    RemoveCondemned(store);
  });
  RoomCame();
}

absl::Status MemoryTier::Read(const RecordKey& key, const Runs& payload) {
  CISTERN_ASSIGN_OR_RETURN(Source source,
                           parts_.store->With([&](Store& store) { return Locate(store, key); }));
  if (source.kind == Source::Kind::kBelow) return ReadThrough(key, source.id, payload);
  if (source.kind == Source::Kind::kStaging) CISTERN_RETURN_IF_ERROR(Stage(key, source));
  const uint64_t bytes = RunBytes(payload);
  absl::Status status;
  if (bytes == RunBytes(source.runs)) {
    CopyRuns({source.runs.begin(), source.runs.end()}, payload);
    ++counters_.copied_out;
    counters_.copied_out_bytes += bytes;
  } else {
    status = absl::DataLossError(absl::StrCat("an object of ", RunBytes(source.runs),
                                              " bytes was asked for as one of ", bytes));
  }
  Release(source);
  return status;
}

void MemoryTier::Remove(Store& store, ObjectId id) {
  const ObjectView view = store.Describe(id);
  if (view.where == Where::kMiss) return;
  const Selector itself{.object = id};
  store.SetPinned(itself, false);
  store.Evict(itself);
  if (store.Describe(id).where != Where::kMiss) condemned_.insert(id);
}

void MemoryTier::RemoveCondemned(Store& store) {
  if (condemned_.empty()) return;
  const auto condemned = std::exchange(condemned_, {});
  for (const ObjectId id : condemned) Remove(store, id);
}

bool MemoryTier::IsCondemned(Store& store, const RecordKey& key) {
  const Found found = store.Find({.content = key.content, .context = key.context});
  return found.object.where != Where::kMiss && condemned_.contains(found.object.id);
}

absl::Status MemoryTier::Delete(const std::vector<RecordKey>& keys) {
  parts_.store->With([&](Store& store) {
    RemoveCondemned(store);
    for (const RecordKey& key : keys) {
      if (const ObjectView view = FindOwn(store, key); view.where != Where::kMiss)
        Remove(store, view.id);
    }
  });
  RoomCame();
  Look();
  return absl::OkStatus();
}

absl::Status MemoryTier::Verify(const RecordKey& key) {
  bool comparable = false;
  const ObjectView view = parts_.store->With([&](Store& store) {
    ObjectView found = FindOwn(store, key);
    comparable = found.header != nullptr && Comparable(store, found.header->Full());
    found.header = nullptr;  // not valid without the lock
    return found;
  });
  if (view.where == Where::kMiss) return absl::NotFoundError("no such object in memory");
  if (!view.on_disk) return absl::OkStatus();  // there is nothing to compare it with
  absl::Status status = absl::AbortedError("");
  if (view.where == Where::kMemory && comparable)
    status = CompareWithRecord(*parts_.store, *parts_.arena, *parts_.below, view.id, kTierSession,
                               options_.blob_block_bytes, parts_.clock->Now());
  const bool in_memory = !absl::IsAborted(status);
  if (!in_memory) status = parts_.below->Verify(key);
  const bool bad_memory = absl::IsInternal(status);
  if (!absl::IsDataLoss(status) && !bad_memory) return status;
  parts_.store->With([&](Store& store) {
    bad_memory ? store.ForgetMemory(view.id) : store.ForgetRecord(view.id);
  });
  Look();
  return in_memory ? absl::UnavailableError(absl::StrCat("repaired: ", status.message())) : status;
}

}  // namespace cistern::storage
