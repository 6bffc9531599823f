#include "client_lib/src/fetcher.h"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include <sched.h>

namespace cistern::client {

absl::Status FetchQueue::Submit(std::unique_ptr<FetchJob>* job) {
  bool soon = false;
  {
    base::MutexLock lock(&mutex_);
    if (queue_.size() + coming_ >= max_queued_) {
      return absl::ResourceExhaustedError("too many fetches wait; see max_queued_fetches");
    }
    soon = idle_ > queue_.size() + coming_;
    ++coming_;
  }
  auto task = std::make_unique<Task>(std::move(*job), counters_, rates_);
  if (soon) task->run.AskAhead();
  const bool helpable = task->run.immediate();
  {
    base::MutexLock lock(&mutex_);
    --coming_;
    queue_.push_back(std::move(task));
    if (glancing_soon_ > 0 || (helpable && glancing_ > 0)) return absl::OkStatus();
  }
  changed_.notify_one();
  return absl::OkStatus();
}

// A thread that is woken on the caller's own processor runs before him. He has the rows sooner when
// he goes on, and takes them himself if he only waits for them.
std::unique_ptr<FetchQueue::Task> FetchQueue::AwaitTask() {
  for (bool yielded = false;; yielded = true) {
    {
      base::MutexLock lock(&mutex_);
      while (!closed_ && queue_.empty()) {
        ++idle_;
        AwaitChange();
        --idle_;
        yielded = false;
      }
      if (closed_) return nullptr;
      if (yielded) {
        std::unique_ptr<Task> task = std::move(queue_.front());
        queue_.pop_front();
        glance_ = kGlance;
        StartLocked(*task);
        if (!queue_.empty()) changed_.notify_one();  // whoever put it there may have woken nobody
        return task;
      }
    }
    sched_yield();
  }
}

void FetchQueue::AwaitChange() {
  if (helpers_ == 0 && owing_.empty()) return changed_.wait(mutex_);
  // Some give back what is there; others wait for what the node has still to answer.
  const bool soon = helpers_ > 0 || std::any_of(owing_.begin(), owing_.end(), [](const auto& one) {
                      return !one->late_book()->expects();
                    });
  const std::chrono::microseconds glance = soon ? glance_ : kPatientGlance;
  glancing_ += soon ? 1 : 0;
  glancing_soon_ += glance == kGlance ? 1 : 0;
  const std::cv_status woken = changed_.wait_for(mutex_, glance);
  glancing_ -= soon ? 1 : 0;
  glancing_soon_ -= glance == kGlance ? 1 : 0;
  if (woken == std::cv_status::no_timeout) return;
  if (soon) glance_ = std::min(2 * glance, kRareGlance);  // until there is something to take
  if (owing_.empty()) return;
  std::vector<std::shared_ptr<Session>> owing = std::exchange(owing_, {});
  mutex_.Unlock();
  std::vector<std::shared_ptr<Session>> still;
  for (auto& session : owing) {
    if (session->late_book()->expects()) still.push_back(session);
    session->GiveBackLate();
  }
  owing.clear();
  mutex_.Lock();
  for (auto& session : still) OwesLocked(std::move(session));
}

void FetchQueue::OwesLocked(std::shared_ptr<Session> session) {
  const bool known = std::find(owing_.begin(), owing_.end(), session) != owing_.end();
  if (!closed_ && !known) owing_.push_back(std::move(session));
}

void FetchQueue::Work() {
  while (std::unique_ptr<Task> task = AwaitTask()) {
    task->run.RunTo(task->job->state->num_layers(), /*patient=*/true);
    std::shared_ptr<Session> session = task->run.session();
    // Asked first: what comes after the giving back has then been expected.
    const bool owes = session != nullptr && session->late_book()->expects();
    if (session != nullptr) session->GiveBackLate();
    base::MutexLock lock(&mutex_);
    if (owes) OwesLocked(std::move(session));
    EndLocked(task->job->state.get());
  }
}

void FetchQueue::Help(FetchState* state, uint32_t layers) {
  std::unique_ptr<Task> task = Take(state);
  if (task == nullptr) return;
  const bool over = task->run.RunTo(layers, /*patient=*/false);
  const std::shared_ptr<Session> session = task->run.session();
  if (over) task.reset();  // before the client may go
  if (EndHelp(state, &task, session)) return;
  state->Cancel();
  state->Finish();
  task.reset();
  base::MutexLock lock(&mutex_);
  EndLocked(state);
}

bool FetchQueue::EndHelp(const FetchState* state, std::unique_ptr<Task>* rest,
                         const std::shared_ptr<Session>& session) {
  base::MutexLock lock(&mutex_);
  --helpers_;
  if (closed_ && *rest != nullptr) return false;
  const bool soon = *rest != nullptr;  // what is left is not to wait for long
  if (*rest != nullptr) queue_.push_front(std::move(*rest));
  if (idle_ > 0 && (soon ? glancing_soon_ : glancing_) == 0) changed_.notify_one();
  OwesLocked(session);
  EndLocked(state);
  return true;
}

std::unique_ptr<FetchQueue::Task> FetchQueue::Take(const FetchState* state) {
  base::MutexLock lock(&mutex_);
  const auto it = std::find_if(queue_.begin(), queue_.end(),
                               [&](const auto& task) { return task->job->state.get() == state; });
  if (closed_ || it == queue_.end() || !(*it)->run.immediate()) return nullptr;
  std::unique_ptr<Task> task = std::move(*it);
  queue_.erase(it);
  StartLocked(*task);
  ++helpers_;
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
  std::vector<std::shared_ptr<Session>> owing;
  {
    base::MutexLock lock(&mutex_);
    closed_ = true;
    left.swap(queue_);
    owing.swap(owing_);
    running = running_;
    changed_.notify_all();
  }
  for (auto& task : left) {
    task->job->state->Cancel();
    task->job->state->Finish();
  }
  for (auto& state : running) state->Cancel();
  for (auto& session : owing) session->GiveBackLate();
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
