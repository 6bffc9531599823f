// How long it pays to look for what one waits for before one sleeps.
//
// Waking a thread costs 5 us where its processor is busy, and 30 to 50 where it has halted, which a
// virtual one does at once. What comes sooner than that is better looked for. So: look for at most
// `look_for`, and only while what was awaited last came as soon. Who waits for something slow, or
// for nothing, looks in vain once and sleeps from then on; so does, for kCrowdedFor, one who was
// taken off his processor while he looked.
//
//   (Begin ─► (look ─► Again)* [─► sleep] ─► Came)*
//
// It never yields: to the Linux scheduler that is to give a whole time slice away, milliseconds.
//
// Thread   one at a time
#pragma once

#include <chrono>

#include "transport/rpc/mono_time.h"

namespace cistern::transport {

class Lookout {
 public:
  using Micros = std::chrono::microseconds;
  using Clock = MonoTime (*)();
  static constexpr Micros kCrowdedFor{2000};

  explicit Lookout(Micros look_for, Clock now = MonoNow) : look_for_(look_for), now_(now) {}

  // The waiting begins. False: sleep at once. `allowed` false: as when somebody else is known to
  // want the processor.
  bool Begin(bool allowed);
  // Whether to look once more.
  bool Again();
  // What was awaited has come, looked for or slept for.
  void Came();

 private:
  const Micros look_for_;
  const Clock now_;
  bool soon_ = false;     // the last one came within look_for
  bool looking_ = false;  // and this one is being looked for
  bool looked_ = false;   // or has been
  MonoTime begun_;
  MonoTime looked_last_;
  MonoTime crowded_until_ = MonoTime::min();
};

}  // namespace cistern::transport
