// The Store behind its one mutex.
//
//   locked.With([&](storage::Store& store) { ... })
//
// Whoever is given a Store& holds the lock. Inside: microseconds, no I/O, no waiting. Of two stores
// on top of each other the upper one's lock is taken first.
#pragma once

#include <utility>

#include "base/mutex.h"
#include "storage/store.h"

namespace cistern::storage {

class LockedStore {
 public:
  LockedStore(const StoreOptions& options, Arena* arena) : store_(options, arena) {}

  template <typename F>
  decltype(auto) With(F&& work) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    return std::forward<F>(work)(store_);
  }

 private:
  base::Mutex mutex_;
  Store store_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::storage
