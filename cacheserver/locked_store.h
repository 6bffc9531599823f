// The Store behind its one mutex.
//
//   locked.With([&](storage::Store& store) { ... })
//
// Whoever is given a Store& holds the lock. Inside: microseconds, no I/O, no replies, no waiting;
// what must follow goes into an AfterLock.
#pragma once

#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"

#include "base/mutex.h"
#include "storage/store.h"

namespace cistern::cacheserver {

class LockedStore {
 public:
  LockedStore(const storage::StoreOptions& options, storage::Arena* arena)
      : store_(options, arena) {}

  template <typename F>
  decltype(auto) With(F&& work) ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(&mutex_);
    return std::forward<F>(work)(store_);
  }

 private:
  base::Mutex mutex_;
  storage::Store store_ ABSL_GUARDED_BY(mutex_);
};

// What to do once the lock is released: declare it before With, add to it inside.
class AfterLock {
 public:
  AfterLock() = default;
  AfterLock(const AfterLock&) = delete;
  AfterLock& operator=(const AfterLock&) = delete;
  ~AfterLock() {
    for (auto& task : tasks_) task();
  }
  void Add(absl::AnyInvocable<void()> task) { tasks_.push_back(std::move(task)); }

 private:
  std::vector<absl::AnyInvocable<void()>> tasks_;
};

}  // namespace cistern::cacheserver
