// Threads beside those that read: they join reads that have more than one thing to do, so that who
// reads alone has several requests at the disk, and the disk does not wait while he hashes.
//
// The oldest read goes first, also for those who have one of their own: objects come one after
// another, and not all in the end.
//
// Thread   Run: any
#pragma once

#include <cstdint>
#include <list>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

#include "base/mutex.h"

namespace cistern::storage {

class ReadHelpers {
 public:
  explicit ReadHelpers(uint32_t threads);
  ~ReadHelpers();  // nobody is in Run
  ReadHelpers(const ReadHelpers&) = delete;
  ReadHelpers& operator=(const ReadHelpers&) = delete;

  // Calls `work` on this thread, or on others, or on several at the same time, until one call has
  // returned: that means that nothing is left to begin. Returns when all calls have. `things`: so
  // many can be done at once.
  void Run(absl::FunctionRef<void()> work, size_t things);

 private:
  struct Job {
    absl::FunctionRef<void()> work;
    uint32_t inside = 0;     // threads
    bool all_begun = false;  // nothing is left to begin
  };
  using Jobs = std::list<Job>;

  void Loop();
  Jobs::iterator Oldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Lets the mutex go meanwhile.
  void Join(Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::Mutex mutex_;
  base::CondVar offered_, left_;
  Jobs jobs_ ABSL_GUARDED_BY(mutex_);  // the oldest first
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace cistern::storage
