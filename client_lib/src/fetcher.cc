#include "client_lib/src/fetcher.h"

#include <algorithm>
#include <utility>

namespace cistern::client {

Fetcher::Fetcher(uint32_t num_threads, uint32_t max_queued, Counters* counters, Rates* rates)
    : max_queued_(max_queued), counters_(counters), rates_(rates) {
  for (uint32_t i = 0; i < std::max(1u, num_threads); ++i) {
    threads_.emplace_back([this] { Work(); });
  }
}

Fetcher::~Fetcher() {
  std::deque<std::unique_ptr<FetchJob>> left;
  std::vector<std::shared_ptr<FetchState>> running;
  {
    base::MutexLock lock(&mutex_);
    closed_ = true;
    left.swap(queue_);
    running = running_;
    changed_.notify_all();
  }
  for (auto& job : left) {
    job->state->Cancel();
    job->state->Finish();
  }
  for (auto& state : running) state->Cancel();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Fetcher::Submit(std::unique_ptr<FetchJob> job) {
  base::MutexLock lock(&mutex_);
  if (queue_.size() >= max_queued_) {
    return absl::ResourceExhaustedError("too many fetches wait; see max_queued_fetches");
  }
  queue_.push_back(std::move(job));
  changed_.notify_one();
  return absl::OkStatus();
}

void Fetcher::Work() {
  for (;;) {
    std::unique_ptr<FetchJob> job;
    {
      base::MutexLock lock(&mutex_);
      changed_.wait(mutex_,
                    [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_ || !queue_.empty(); });
      if (closed_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
      running_.push_back(job->state);
    }
    FetchRun(job.get(), counters_, rates_).Run();
    base::MutexLock lock(&mutex_);
    running_.erase(std::find(running_.begin(), running_.end(), job->state));
  }
}

}  // namespace cistern::client
