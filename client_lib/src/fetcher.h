// The threads on which fetches run, and the queue before them.
//
// Waking a thread takes as long as moving half a megabyte. So who waits for a fetch that nobody has
// begun, and that needs nothing but what is leased already, moves its rows himself: all of them,
// or, when he waits for a layer, up to that one, and a fetch thread moves the rest meanwhile.
//
// He wakes nobody for what is left, if he need not: while a caller helps, and until the leases of
// his fetch have been given back, an idle thread looks every kGlance for work. It need not be woken
// for the next fetch either. Where callers move all their rows themselves it looks in vain, and
// more and more rarely, down to every kRareGlance, until it finds something to do; meanwhile it is
// woken for what a caller leaves, or cannot do. For leases that are still to come, of a fetch that
// was cancelled, one looks every kPatientGlance.
//
// What must be read from a disk is asked for by the caller of Fetch, if a thread is free to go on
// with it: the disk is not to wait until that has woken.
//
// Thread   any. The destructor cancels what is queued or running, joins its threads and waits for
//          those who help
// Errors   ResourceExhausted: the queue is full
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "base/mutex.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/fetch_run.h"
#include "client_lib/src/rates.h"

namespace cistern::client {

// Shared by the client and by the handles of its fetches, which may outlive it.
class FetchQueue {
 public:
  // `counters` and `rates` are not used after Close.
  FetchQueue(uint32_t max_queued, Counters* counters, Rates* rates)
      : max_queued_(max_queued), counters_(counters), rates_(rates) {}

  static constexpr std::chrono::microseconds kGlance{200};
  static constexpr std::chrono::microseconds kRareGlance{1600};
  static constexpr std::chrono::microseconds kPatientGlance{20000};

  // Takes `job`; after an error it is as it was.
  absl::Status Submit(std::unique_ptr<FetchJob>* job);

  // Runs fetches until Close.
  void Work();

  // Does the work of `state`'s fetch, if it waits in the queue and is immediate, until `layers`
  // layers are there.
  void Help(FetchState* state, uint32_t layers);

  // Ends Work and answers all fetches. AwaitHelpers, after it: nobody is in Help any more.
  void Close();
  void AwaitHelpers();

 private:
  struct Task {
    Task(std::unique_ptr<FetchJob> fetch, Counters* counters, Rates* rates)
        : job(std::move(fetch)), run(job.get(), counters, rates) {}
    const std::unique_ptr<FetchJob> job;
    FetchRun run;
  };

  std::unique_ptr<Task> AwaitTask();  // null: closed
  void AwaitChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The fetch of `state` if it waits and can be helped with; it counts as running from here on.
  std::unique_ptr<Task> Take(const FetchState* state);
  // `rest`: of the fetch; null: it is over. False: closed, and nobody will do it.
  bool EndHelp(const FetchState* state, std::unique_ptr<Task>* rest,
               const std::shared_ptr<Session>& session);
  // Its late book is to be looked at.
  void OwesLocked(std::shared_ptr<Session> session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartLocked(const Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndLocked(const FetchState* state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint32_t max_queued_;
  Counters* const counters_;
  Rates* const rates_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<std::unique_ptr<Task>> queue_ ABSL_GUARDED_BY(mutex_);
  uint32_t coming_ ABSL_GUARDED_BY(mutex_) = 0;  // on their way into the queue, and counted there
  std::vector<std::shared_ptr<FetchState>> running_ ABSL_GUARDED_BY(mutex_);
  uint32_t helpers_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t idle_ ABSL_GUARDED_BY(mutex_) = 0;                            // threads
  uint32_t glancing_ ABSL_GUARDED_BY(mutex_) = 0;                        // of them
  uint32_t glancing_soon_ ABSL_GUARDED_BY(mutex_) = 0;                   // of those: in kGlance
  std::chrono::microseconds glance_ ABSL_GUARDED_BY(mutex_) = kGlance;   // between two looks
  std::vector<std::shared_ptr<Session>> owing_ ABSL_GUARDED_BY(mutex_);  // leases, to the node
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

class Fetcher {
 public:
  // `counters` and `rates` outlive the fetcher.
  Fetcher(uint32_t num_threads, uint32_t max_queued, Counters* counters, Rates* rates);
  ~Fetcher();

  absl::Status Submit(std::unique_ptr<FetchJob>* job) { return queue_->Submit(job); }
  std::shared_ptr<FetchQueue> queue() const { return queue_; }

 private:
  const std::shared_ptr<FetchQueue> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace cistern::client
