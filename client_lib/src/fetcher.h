// The threads on which fetches run, and the queue before them.
//
// Thread   any. The destructor cancels what is queued or running and joins
// Errors   ResourceExhausted: the queue is full
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "base/mutex.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/fetch_run.h"
#include "client_lib/src/rates.h"

namespace cistern::client {

class Fetcher {
 public:
  // `counters` and `rates` outlive the fetcher.
  Fetcher(uint32_t num_threads, uint32_t max_queued, Counters* counters, Rates* rates);
  ~Fetcher();

  absl::Status Submit(std::unique_ptr<FetchJob> job);

 private:
  void Work();

  const uint32_t max_queued_;
  Counters* const counters_;
  Rates* const rates_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<std::unique_ptr<FetchJob>> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<FetchState>> running_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace cistern::client
