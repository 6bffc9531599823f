// A few threads and one bounded queue: where disk reads, copies and checksums happen, so that no
// lane waits for them.
//
// Thread   Post, queued: any. Stop: one, not of the pool
// Errors   Post returns false when `capacity` tasks wait or the pool has stopped; the task is
// dropped, not run
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"

#include "base/mutex.h"

namespace cistern::cacheserver {

class WorkPool {
 public:
  using Task = absl::AnyInvocable<void()>;

  // `name` becomes the threads' name (15 characters of it).
  WorkPool(absl::string_view name, uint32_t threads, size_t capacity);
  ~WorkPool();  // Stop
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  bool Post(Task task);
  size_t queued() const;
  // Refuses what comes, runs what waits, joins. Idempotent.
  void Stop();

 private:
  void Run();

  const size_t capacity_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// The calling thread's name, as ps and debuggers show it.
void NameThread(absl::string_view name);

}  // namespace cistern::cacheserver
