#include "client_lib/src/fetcher.h"

#include <algorithm>
#include <utility>

#include <sched.h>

namespace cistern::client {

absl::Status FetchQueue::Submit(std::unique_ptr<FetchJob>&& job) {
  {
    base::MutexLock lock(&mutex_);
    if (queue_.size() >= max_queued_) {
      return absl::ResourceExhaustedError("too many fetches wait; see max_queued_fetches");
    }
    queue_.push_back(std::make_unique<Task>(std::move(job), counters_, rates_));
  }
  changed_.notify_one();
  return absl::OkStatus();
}

// A thread that is woken on the caller's own processor runs before him. He has the rows sooner when
// he goes on, and takes them himself if he only waits for them.
void FetchQueue::AwaitWork() {
  {
    base::MutexLock lock(&mutex_);
    changed_.wait(mutex_,
                  [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_ || !queue_.empty(); });
  }
  sched_yield();
}

void FetchQueue::Work() {
  for (;;) {
    std::unique_ptr<Task> task;
    AwaitWork();
    {
      base::MutexLock lock(&mutex_);
      if (closed_) return;
      if (queue_.empty()) continue;
      task = std::move(queue_.front());
      queue_.pop_front();
      StartLocked(*task);
    }
    task->run.RunTo(task->job->state->num_layers());
    base::MutexLock lock(&mutex_);
    EndLocked(task->job->state.get());
  }
}

void FetchQueue::Help(FetchState* state, uint32_t layers) {
  std::unique_ptr<Task> task = Take(state);
  if (task == nullptr) return;
  const bool over = task->run.RunTo(layers);
  if (over) task.reset();  // before the client may go
  bool closed = false;
  {
    base::MutexLock lock(&mutex_);
    closed = closed_;
    if (!over && !closed) {
      queue_.push_front(std::move(task));
    }
    if (over || !closed) EndLocked(state);
  }
  if (!over && !closed) changed_.notify_one();
  if (over || !closed) return;
  state->Cancel();
  state->Finish();
  task.reset();
  base::MutexLock lock(&mutex_);
  EndLocked(state);
}

std::unique_ptr<FetchQueue::Task> FetchQueue::Take(const FetchState* state) {
  base::MutexLock lock(&mutex_);
  const auto it = std::find_if(queue_.begin(), queue_.end(),
                               [&](const auto& task) { return task->job->state.get() == state; });
  if (closed_ || it == queue_.end() || !(*it)->run.immediate()) return nullptr;
  std::unique_ptr<Task> task = std::move(*it);
  queue_.erase(it);
  StartLocked(*task);
  return task;
}

void FetchQueue::StartLocked(const Task& task) { running_.push_back(task.job->state); }

void FetchQueue::EndLocked(const FetchState* state) {
  running_.erase(std::find_if(running_.begin(), running_.end(),
                              [&](const auto& running) { return running.get() == state; }));
  if (closed_) changed_.notify_all();
}

void FetchQueue::Close() {
  std::deque<std::unique_ptr<Task>> left;
  std::vector<std::shared_ptr<FetchState>> running;
  {
    base::MutexLock lock(&mutex_);
    closed_ = true;
    left.swap(queue_);
    running = running_;
    changed_.notify_all();
  }
  for (auto& task : left) {
    task->job->state->Cancel();
    task->job->state->Finish();
  }
  for (auto& state : running) state->Cancel();
}

void FetchQueue::AwaitHelpers() {
  base::MutexLock lock(&mutex_);
  changed_.wait(mutex_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return running_.empty(); });
}

Fetcher::Fetcher(uint32_t num_threads, uint32_t max_queued, Counters* counters, Rates* rates)
    : queue_(std::make_shared<FetchQueue>(max_queued, counters, rates)) {
  for (uint32_t i = 0; i < std::max(1u, num_threads); ++i) {
    threads_.emplace_back([this] { queue_->Work(); });
  }
}

Fetcher::~Fetcher() {
  queue_->Close();
  for (std::thread& thread : threads_) thread.join();
  queue_->AwaitHelpers();
}

}  // namespace cistern::client
