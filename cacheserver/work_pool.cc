#include "cacheserver/work_pool.h"

#include <utility>

#include <pthread.h>

namespace cistern::cacheserver {

void NameThread(absl::string_view name) {
  pthread_setname_np(pthread_self(), std::string(name.substr(0, 15)).c_str());
}

WorkPool::WorkPool(absl::string_view name, uint32_t threads, size_t capacity)
    : capacity_(capacity) {
  for (uint32_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, name = std::string(name)] {
      NameThread(name);
      Run();
    });
  }
}

WorkPool::~WorkPool() { Stop(); }

bool WorkPool::Post(Task task) {
  {
    base::MutexLock lock(&mutex_);
    if (stopping_ || tasks_.size() >= capacity_) return false;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
  return true;
}

size_t WorkPool::queued() const {
  base::MutexLock lock(&mutex_);
  return tasks_.size();
}

void WorkPool::Stop() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkPool::Run() {
  for (;;) {
    Task task;
    {
      base::MutexLock lock(&mutex_);
      changed_.wait(
          mutex_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace cistern::cacheserver
