// Which models the tier below knows. A record is written only after its model: a restarted node
// would not know what the bytes mean.
//
// Thread   any; Persist blocks on the tier
#pragma once

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"

#include "base/key.h"
#include "base/model_spec.h"
#include "base/mutex.h"
#include "storage/tier/tier.h"

namespace cistern::cacheserver {

class ModelBook {
 public:
  // `below` nullptr: nothing to do. `forgetful`: the tier may forget a model that has no objects in
  // it, so that it is told each time.
  explicit ModelBook(storage::Tier* below, bool forgetful = false)
      : below_(below), forgetful_(forgetful) {}

  // Writes the model unless that has been done. The tier's error.
  absl::Status Persist(const base::ModelSpec& spec);
  // It was found there.
  void MarkPersisted(const base::Key& fingerprint);
  // Deletes it there unless it has been written, or found, to be used. The tier's error.
  absl::Status Delete(const base::Key& fingerprint);

 private:
  bool IsPersisted(const base::Key& fingerprint);

  storage::Tier* const below_;
  const bool forgetful_;
  base::Mutex io_mutex_;  // writes and deletions of models in turn; before mutex_
  base::Mutex mutex_;
  absl::flat_hash_set<base::Key> persisted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::cacheserver
