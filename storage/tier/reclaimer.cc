#include "storage/tier/reclaimer.h"

#include <chrono>

namespace cistern::storage {
namespace {

constexpr std::chrono::milliseconds kGatherTime{100};  // neighbours that die within it go together
constexpr std::chrono::seconds kRetryTime{5};          // after a failure

}  // namespace

Reclaimer::Reclaimer(PayloadLog* log) : log_(log), thread_([this] { Loop(); }) {}

Reclaimer::~Reclaimer() {
  {
    base::MutexLock lock(&mutex_);
    stop_ = true;
  }
  stopping_.store(true, std::memory_order_relaxed);
  woken_.notify_all();
  thread_.join();
}

void Reclaimer::Wake() {
  {
    base::MutexLock lock(&mutex_);
    if (wake_) return;
    wake_ = true;
  }
  woken_.notify_all();
}

void Reclaimer::Loop() {
  bool failed = false;
  while (true) {
    {
      base::MutexLock lock(&mutex_);
      const auto wanted = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return wake_ || stop_; };
      const auto stopped = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stop_; };
      if (failed) {
        woken_.wait_for(mutex_, kRetryTime, wanted);
      } else {
        woken_.wait(mutex_, wanted);
      }
      if (woken_.wait_for(mutex_, kGatherTime, stopped)) return;
      wake_ = false;
    }
    failed = !Run().ok();  // counted; tried again
  }
}

absl::Status Reclaimer::Run() {
  absl::Status status = log_->GiveBack(&stopping_);
  if (!status.ok()) failures_.fetch_add(1, std::memory_order_relaxed);
  return status;
}

}  // namespace cistern::storage
