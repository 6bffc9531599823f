// How many sessions of a server are calling just now, and whether that leaves processors to look
// for calls and answers with (lookout.h) rather than to sleep.
//
// Just now: in this stretch of time, or in the one before it. Each that calls wants a processor for
// its own worker, and one for a lane, as far as there are so many.
//
// Thread   Called: one at a time for each mark; else any
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "transport/rpc/mono_time.h"

namespace cistern::transport {

class Callers {
 public:
  static constexpr std::chrono::milliseconds kStretch{1};

  Callers(uint32_t lanes, uint32_t processors) : lanes_(lanes), processors_(processors) {}

  // A session's own: when it was counted last.
  struct Mark {
    uint64_t stretch = 0;
  };
  void Called(Mark* mark, MonoTime now);

  uint32_t Count(MonoTime now) const;
  bool Crowded(MonoTime now) const;

 private:
  static uint64_t StretchOf(MonoTime time) { return time.time_since_epoch() / kStretch; }

  // One word, so that it is read and changed whole: the stretch, how many have called in the one
  // before it, and how many in it.
  struct Counted {
    uint64_t stretch = 0;
    uint32_t before = 0, in_it = 0;

    Counted At(uint64_t now) const;  // as seen from a later stretch
    static Counted From(uint64_t word);
    uint64_t word() const;
  };

  const uint32_t lanes_;
  const uint32_t processors_;
  std::atomic<uint64_t> counted_{0};
};

}  // namespace cistern::transport
