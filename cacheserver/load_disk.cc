#include "cacheserver/load_disk.h"

#include <map>
#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace cistern::cacheserver {
namespace {

class Loader {
 public:
  Loader(LockedStore& store, storage::Tier& below, ModelBook& models, uint32_t max_models)
      : store_(store), below_(below), models_(models), max_models_(max_models) {}

  absl::StatusOr<DiskLoad> Run(absl::Time now) {
    CISTERN_RETURN_IF_ERROR(below_.ForEachModel(
        [&](const base::ModelSpec& spec) { unused_.emplace(spec.Fingerprint(), spec); }));
    CISTERN_RETURN_IF_ERROR(store_.With([&](storage::Store& store) {
      return below_.ForEachRecord(
          [&](const base::ObjectHeader& header) { AddRecord(store, header, now); });
    }));
    load_.deleted = unusable_.size();
    if (!unusable_.empty()) load_.cleaning = below_.Delete(unusable_);
    for (const auto& [fingerprint, spec] : unused_) AddUnused(spec);
    return std::move(load_);
  }

 private:
  // Models with records come first: none of them must be the one that is forgotten.
  void AddRecord(storage::Store& store, const base::ObjectHeader& header, absl::Time now) {
    if (const auto it = unused_.find(header.model); it != unused_.end()) {
      if (store.RegisterModel(it->second).ok()) models_.MarkPersisted(it->first);
      unused_.erase(it);
    }
    const absl::Status added = store.AddDiskRecord(header, now);
    if (added.ok()) {
      ++load_.objects;
    } else if (absl::IsInvalidArgument(added)) {
      unusable_.push_back({header.content, header.context});
    } else {
      ++load_.left_alone;  // a start with its model, or with more memory, can use it
    }
  }

  void AddUnused(const base::ModelSpec& spec) {
    const bool kept = store_.With([&](storage::Store& store) {
      return store.Models().size() < max_models_ && store.RegisterModel(spec).ok();
    });
    if (kept) return models_.MarkPersisted(spec.Fingerprint());
    load_.cleaning.Update(below_.DeleteModel(spec.Fingerprint()));
    ++load_.forgotten_models;
  }

  LockedStore& store_;
  storage::Tier& below_;
  ModelBook& models_;
  const uint32_t max_models_;
  std::map<base::Key, base::ModelSpec> unused_;  // below, and no record has named them yet
  std::vector<storage::RecordKey> unusable_;
  DiskLoad load_;
};

}  // namespace

absl::StatusOr<DiskLoad> LoadDisk(LockedStore& store, storage::Tier& below, ModelBook& models,
                                  uint32_t max_models, absl::Time now) {
  return Loader(store, below, models, max_models).Run(now);
}

}  // namespace cistern::cacheserver
