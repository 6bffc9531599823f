#include "cacheserver/room_queue.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cacheserver/work_pool.h"

namespace cistern::cacheserver {

RoomQueue::RoomQueue(const base::Clock* clock, size_t capacity)
    : clock_(clock), capacity_(capacity), thread_([this] {
        NameThread("cistern-room");
        Run();
      }) {}

RoomQueue::~RoomQueue() { Stop(); }

bool RoomQueue::Park(absl::Time give_up, Attempt attempt, First first) {
  base::MutexLock lock(&mutex_);
  if (stopping_ || waiters_.size() + busy_ >= capacity_) return false;
  const bool at_once = first == First::kAtOnce;
  waiters_.push_back({give_up, std::move(attempt), at_once});
  if (at_once || give_up < sleeps_until_) changed_.notify_all();
  return true;
}

void RoomQueue::RoomCame() {
  base::MutexLock lock(&mutex_);
  if (waiters_.empty() && busy_ == 0)
    return;  // who parks later tries at once, or sees to it himself
  try_all_ = true;
  changed_.notify_all();
}

size_t RoomQueue::parked() const {
  base::MutexLock lock(&mutex_);
  return waiters_.size() + busy_;
}

void RoomQueue::Stop() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

absl::Duration RoomQueue::UntilNext() const {
  absl::Duration wait = absl::Seconds(1);
  const absl::Time now = clock_->Now();
  for (const Waiter& waiter : waiters_)
    wait = std::min(wait, waiter.fresh ? absl::ZeroDuration() : waiter.give_up - now);
  return wait;
}

void RoomQueue::Run() {
  std::list<Waiter> batch;
  for (;;) {
    bool last_for_all = false;
    bool try_all = false;
    {
      base::MutexLock lock(&mutex_);
      waiters_.splice(waiters_.begin(), batch);  // those not done stay first in line
      busy_ = 0;
      if (!stopping_ && !try_all_) {
        const absl::Duration wait = UntilNext();
        if (wait > absl::ZeroDuration()) {
          sleeps_until_ = clock_->Now() + wait;
          changed_.wait_for(mutex_, absl::ToChronoNanoseconds(wait));
          sleeps_until_ = absl::InfinitePast();
        }
      }
      last_for_all = stopping_;
      try_all = std::exchange(try_all_, false);
      if (last_for_all && waiters_.empty()) return;
      batch.splice(batch.end(), waiters_);
      busy_ = batch.size();
    }
    const absl::Time now = clock_->Now();
    for (auto it = batch.begin(); it != batch.end();) {
      const bool last = last_for_all || it->give_up <= now;
      const bool due = last || try_all || std::exchange(it->fresh, false);
      const bool done = due && it->attempt(last);
      it = done || last ? batch.erase(it) : std::next(it);
    }
  }
}

}  // namespace cistern::cacheserver
