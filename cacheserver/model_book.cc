#include "cacheserver/model_book.h"

#include "base/status_macros.h"

namespace cistern::cacheserver {

absl::Status ModelBook::Persist(const base::ModelSpec& spec) {
  if (below_ == nullptr) return absl::OkStatus();
  if (forgetful_) return below_->PutModel(spec);
  const base::Key fingerprint = spec.Fingerprint();
  {
    base::MutexLock lock(&mutex_);
    if (persisted_.contains(fingerprint)) return absl::OkStatus();
  }
  CISTERN_RETURN_IF_ERROR(below_->PutModel(spec));  // twice at a time does no harm
  MarkPersisted(fingerprint);
  return absl::OkStatus();
}

void ModelBook::MarkPersisted(const base::Key& fingerprint) {
  base::MutexLock lock(&mutex_);
  persisted_.insert(fingerprint);
}

}  // namespace cistern::cacheserver
