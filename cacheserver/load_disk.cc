#include "cacheserver/load_disk.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/status_macros.h"
#include "cacheserver/work_pool.h"

namespace cistern::cacheserver {

using storage::Store;

namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(1);  // after an error of the disk
constexpr absl::Duration kLongestPause = absl::Minutes(1);

}  // namespace

void DiskLoader::ExpectRecords(bool may_come) {
  for (LockedStore* const store : {parts_.store, parts_.above}) {
    if (store != nullptr) store->With([&](Store& locked) { locked.ExpectRecords(may_come); });
  }
}

void DiskLoader::Start() {
  ExpectRecords(true);
  thread_ = std::thread([this] {
    NameThread("cistern-load");
    Run();
  });
}

void DiskLoader::Stop() {
  {
    base::MutexLock lock(&mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

bool DiskLoader::AwaitLoaded(absl::Duration patience) {
  base::MutexLock lock(&mutex_);
  return changed_.wait_for(mutex_, absl::ToChronoNanoseconds(patience),
                           [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return done_; });
}

bool DiskLoader::Pause(absl::Duration pause) {
  base::MutexLock lock(&mutex_);
  return !changed_.wait_for(mutex_, absl::ToChronoNanoseconds(pause),
                            [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stop_.load(); });
}

absl::Status DiskLoader::trouble() const {
  base::MutexLock lock(&mutex_);
  return trouble_;
}

void DiskLoader::Run() {
  const absl::Time began = parts_.clock->Now();
  DiskLoad load;
  absl::Status loaded;
  absl::Duration pause = kFirstPause;
  for (;;) {
    loaded = Load(&load);
    if (loaded.ok() || absl::IsCancelled(loaded)) break;
    parts_.log->Error("what is on disk could not be read to its end; what was not is not served",
                      {{"path", parts_.path}, {"objects", load.objects}, {"error", loaded}});
    {
      base::MutexLock lock(&mutex_);
      trouble_ = loaded;
    }
    // Damage does not go away; an error of the disk may, and a full one.
    const bool may_pass = absl::IsUnavailable(loaded) || absl::IsResourceExhausted(loaded);
    if (!may_pass || !Pause(pause)) break;
    pause = std::min(2 * pause, kLongestPause);
  }
  ExpectRecords(false);
  if (loaded.ok()) LogLoaded(load, parts_.clock->Now() - began);
  base::MutexLock lock(&mutex_);
  if (loaded.ok()) trouble_ = absl::OkStatus();
  done_ = true;
  changed_.notify_all();
}

absl::Status DiskLoader::Load(DiskLoad* load) {
  known_.clear();
  CISTERN_RETURN_IF_ERROR(parts_.disk->ForEachModel(
      [&](const base::ModelSpec& spec) { known_.emplace(spec.Fingerprint(), spec); }));
  unused_ = known_;
  for (const base::Key& model : named_) unused_.erase(model);
  CISTERN_RETURN_IF_ERROR(parts_.disk->Load(
      stop_, [&](const std::vector<base::ObjectHeader>& headers) { AddBatch(headers, load); }));
  load->deleted += unusable_.size();
  if (!unusable_.empty()) load->cleaning.Update(parts_.disk->Delete(std::exchange(unusable_, {})));
  for (const auto& [fingerprint, spec] : unused_) AddUnused(spec, load);
  return absl::OkStatus();
}

// Of two stores the upper one's lock is taken first; what it is told of lies in the lower one then.
void DiskLoader::AddBatch(const std::vector<base::ObjectHeader>& headers, DiskLoad* load) {
  const auto add = [&](Store* above) {
    parts_.store->With([&](Store& store) {
      for (const base::ObjectHeader& header : headers) {
        if (AddRecord(store, header, load) && above != nullptr) AddAbove(*above, header, load);
      }
    });
  };
  if (parts_.above == nullptr) return add(nullptr);
  parts_.above->With([&](Store& above) { add(&above); });
}

bool DiskLoader::AddRecord(Store& store, const base::ObjectHeader& header, DiskLoad* load) {
  named_.insert(header.model);
  unused_.erase(header.model);
  RegisterModel(store, *parts_.models, header.model);
  const absl::Status added = store.AddDiskRecord(header, parts_.now);
  if (added.ok()) {
    ++load->objects;
  } else if (absl::IsInvalidArgument(added)) {
    unusable_.push_back({header.content, header.context});
  } else if (absl::IsAlreadyExists(added)) {
    ++load->replaced;
  } else {
    ++load->left_alone;  // a start with its model, or with more memory, can use it
  }
  return added.ok();
}

void DiskLoader::AddAbove(Store& above, const base::ObjectHeader& header, DiskLoad* load) {
  RegisterModel(above, *parts_.models_above, header.model);
  const absl::Status added = above.AddDiskRecord(header, parts_.now);
  load->too_large_above += absl::IsResourceExhausted(added) ? 1 : 0;
}

// A store forgets models that have no objects: it is told with the first record, and again if it
// has forgotten since.
void DiskLoader::RegisterModel(Store& store, ModelBook& models, const base::Key& model) const {
  const auto it = known_.find(model);
  if (it == known_.end() || store.FindModel(model) != nullptr) return;
  if (store.RegisterModel(it->second).ok()) models.MarkPersisted(model);
}

void DiskLoader::AddUnused(const base::ModelSpec& spec, DiskLoad* load) {
  const auto keep = [&](LockedStore& of, ModelBook& models) {
    const bool kept = of.With([&](Store& store) {
      return store.FindModel(spec.Fingerprint()) != nullptr ||
             (store.Models().size() < parts_.max_models && store.RegisterModel(spec).ok());
    });
    if (kept) models.MarkPersisted(spec.Fingerprint());
    return kept;
  };
  if (parts_.above != nullptr) keep(*parts_.above, *parts_.models_above);
  if (keep(*parts_.store, *parts_.models)) return;
  load->cleaning.Update(parts_.models->Delete(spec.Fingerprint()));
  ++load->forgotten_models;
}

void DiskLoader::LogLoaded(const DiskLoad& load, absl::Duration took) const {
  if (!load.cleaning.ok())
    parts_.log->Warning("records and models that nobody can use could not be deleted",
                        {{"path", parts_.path}, {"error", load.cleaning}});
  if (load.too_large_above > 0)
    parts_.log->Warning("objects on disk are larger than the device's memory, and serve nobody",
                        {{"objects", load.too_large_above}});
  const storage::DiskStats found = parts_.disk->Stats();
  if (found.dropped_headers > 0)
    parts_.log->Warning("disk tier had damaged headers",
                        {{"path", parts_.path},
                         {"lost", found.dropped_headers},
                         {"salvaged", found.salvaged_headers},
                         {"what_to_do",
                          "nothing: what was lost is computed again. Check the disk: it, or "
                          "what writes to it, changes bytes"}});
  parts_.log->Info("disk index loaded", {{"path", parts_.path},
                                         {"objects", load.objects},
                                         {"left_alone", load.left_alone},
                                         {"deleted", load.deleted},
                                         {"replaced", load.replaced},
                                         {"forgotten_models", load.forgotten_models},
                                         {"bytes", found.payload_bytes},
                                         {"took", absl::FormatDuration(took)}});
}

}  // namespace cistern::cacheserver
