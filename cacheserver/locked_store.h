// The Store behind its one mutex (storage/locked_store.h), and what follows once it is released:
// under the lock there are no replies, no waiting and no I/O.
#pragma once

#include <vector>

#include "absl/functional/any_invocable.h"

#include "storage/locked_store.h"

namespace cistern::cacheserver {

using storage::LockedStore;

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
