// Keeps callers from a node that is too slow: who waits out a deadline each time waits for nothing.
//
//   closed ─ kTrips deadlines in a row ─► open, for a while ─► one probe ─┬─ in time ─► closed
//     ▲                                    ▲                              └─ late: open, twice as
//     long └── anything but a deadline          └── others are refused meanwhile
//
// Thread   any
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"

namespace cistern::client {

class Breaker {
 public:
  static constexpr uint32_t kTrips = 3;
  static constexpr absl::Duration kMaxWait = absl::Seconds(30);

  // `wait`: the first one. `clock` outlives the breaker.
  Breaker(absl::Duration wait, const base::Clock* clock)
      : first_wait_(wait), clock_(*clock), wait_(wait) {}

  enum class Pass { kNone, kNormal, kProbe };
  // kNone: do not ask the node. Otherwise Report with the same pass, once.
  Pass Enter();
  // How the call ended. InvalidArgument says nothing about the node.
  void Report(Pass pass, const absl::Status& status);

 private:
  void Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const absl::Duration first_wait_;
  const base::Clock& clock_;
  base::Mutex mutex_;
  uint32_t late_ ABSL_GUARDED_BY(mutex_) = 0;  // in a row
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  bool probing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time until_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Duration wait_ ABSL_GUARDED_BY(mutex_);  // the next one
};

}  // namespace cistern::client
