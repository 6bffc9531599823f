// Which models are on disk. A record is written only after its model: a restarted node would not
// know what the bytes mean.
//
// Thread   any; Persist blocks on the disk
#pragma once

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"

#include "base/key.h"
#include "base/model_spec.h"
#include "base/mutex.h"
#include "storage/tier/disk_tier.h"

namespace cistern::cacheserver {

class ModelBook {
 public:
  explicit ModelBook(storage::DiskTier* disk) : disk_(disk) {}  // nullptr: nothing to do

  // Writes the model unless that has been done. The disk's error.
  absl::Status Persist(const base::ModelSpec& spec);
  // It was found on disk.
  void MarkPersisted(const base::Key& fingerprint);

 private:
  storage::DiskTier* const disk_;
  base::Mutex mutex_;
  absl::flat_hash_set<base::Key> persisted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::cacheserver
