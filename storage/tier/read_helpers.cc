#include "storage/tier/read_helpers.h"

#include <algorithm>

namespace cistern::storage {

ReadHelpers::ReadHelpers(uint32_t threads) {
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

ReadHelpers::~ReadHelpers() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  offered_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ReadHelpers::Run(absl::FunctionRef<void()> work, size_t things) {
  base::MutexLock lock(&mutex_);
  const auto own = jobs_.insert(jobs_.end(), Job{.work = work});
  for (size_t i = 1; i < std::min(things, threads_.size() + 1); ++i) offered_.notify_one();
  while (!own->all_begun) Join(*Oldest());
  left_.wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return own->inside == 0; });
  jobs_.erase(own);
}

ReadHelpers::Jobs::iterator ReadHelpers::Oldest() {
  return std::find_if(jobs_.begin(), jobs_.end(), [](const Job& job) { return !job.all_begun; });
}

void ReadHelpers::Join(Job& job) {
  ++job.inside;
  mutex_.Unlock();
  job.work();
  mutex_.Lock();
  job.all_begun = true;
  if (--job.inside == 0) left_.notify_all();
}

void ReadHelpers::Loop() {
  const auto due = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return stopping_ || Oldest() != jobs_.end();
  };
  base::MutexLock lock(&mutex_);
  while (true) {
    offered_.wait(mutex_, due);
    if (stopping_) return;
    Join(*Oldest());
  }
}

}  // namespace cistern::storage
