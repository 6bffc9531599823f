// Gives the room of deleted records back to the file system, in the background: a thread that
// calls PayloadLog::GiveBack whenever there may be work.
//
// It lets a moment pass first, so that neighbours go in one call to the file system.
//
// Thread   Wake, Run, failures: any
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/status/status.h"

#include "base/mutex.h"
#include "storage/tier/payload_log.h"

namespace cistern::storage {

class Reclaimer {
 public:
  explicit Reclaimer(PayloadLog* log);  // outlives this
  ~Reclaimer();                         // work in progress ends early

  void Wake();         // there may be work
  absl::Status Run();  // now, in this thread

  uint64_t failures() const { return failures_.load(std::memory_order_relaxed); }

 private:
  void Loop();

  PayloadLog* const log_;
  std::atomic<uint64_t> failures_{0};
  std::atomic<bool> stopping_{false};
  base::Mutex mutex_;
  base::CondVar woken_;
  bool wake_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace cistern::storage
