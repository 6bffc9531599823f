// Calls that wait for something to change in the store: room in memory, a disk read, a deadline.
//
//   Park(give_up, attempt) ─► attempt(false) at once and whenever RoomCame ─► attempt(true) at
//   `give_up`
//
// until it returns true. At once, because room may have come just before Park; who waits for
// something else does not ask for that, and wakes nobody. In the order of arrival: who came first
// tries first.
//
// Thread   Park, RoomCame: any. Attempts run on the queue's own thread
// Errors   Park returns false when `capacity` calls wait or the queue has stopped; the attempt is
// dropped
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"

namespace cistern::cacheserver {

class RoomQueue {
 public:
  // `last`: nobody will ask again, answer with what there is. Returns whether it is done.
  using Attempt = absl::AnyInvocable<bool(bool last)>;

  RoomQueue(const base::Clock* clock, size_t capacity);
  ~RoomQueue();  // Stop
  RoomQueue(const RoomQueue&) = delete;
  RoomQueue& operator=(const RoomQueue&) = delete;

  enum class First : uint8_t { kAtOnce, kWhenRoomCame };
  bool Park(absl::Time give_up, Attempt attempt, First first = First::kAtOnce);
  // Something was freed, demoted, read or closed: everyone tries again. Also looks at the clock.
  void RoomCame();
  size_t parked() const;
  // Everyone gets a last attempt. Idempotent.
  void Stop();

 private:
  struct Waiter {
    absl::Time give_up;
    Attempt attempt;
    bool fresh = true;  // to be tried at once
  };

  void Run();
  absl::Duration UntilNext() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const base::Clock* const clock_;
  const size_t capacity_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::list<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
  size_t busy_ ABSL_GUARDED_BY(mutex_) = 0;  // taken out for an attempt
  absl::Time sleeps_until_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // or does not sleep
  bool try_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace cistern::cacheserver
