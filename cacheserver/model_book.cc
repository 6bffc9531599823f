#include "cacheserver/model_book.h"

#include "base/status_macros.h"

namespace cistern::cacheserver {

absl::Status ModelBook::Persist(const base::ModelSpec& spec) {
  if (below_ == nullptr) return absl::OkStatus();
  if (forgetful_) return below_->PutModel(spec);
  const base::Key fingerprint = spec.Fingerprint();
  base::MutexLock io(&io_mutex_);
  if (IsPersisted(fingerprint)) return absl::OkStatus();
  CISTERN_RETURN_IF_ERROR(below_->PutModel(spec));
  MarkPersisted(fingerprint);
  return absl::OkStatus();
}

absl::Status ModelBook::Delete(const base::Key& fingerprint) {
  base::MutexLock io(&io_mutex_);
  return IsPersisted(fingerprint) ? absl::OkStatus() : below_->DeleteModel(fingerprint);
}

bool ModelBook::IsPersisted(const base::Key& fingerprint) {
  base::MutexLock lock(&mutex_);
  return persisted_.contains(fingerprint);
}

void ModelBook::MarkPersisted(const base::Key& fingerprint) {
  base::MutexLock lock(&mutex_);
  persisted_.insert(fingerprint);
}

}  // namespace cistern::cacheserver
