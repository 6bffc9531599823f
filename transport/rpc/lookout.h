// How long it pays to look for what one waits for before one sleeps.
//
// Waking a thread costs 5 us where its processor is busy, and 30 to 50 where it has halted, which a
// virtual one does at once. What comes sooner than that is better looked for. So: look for at most
// `look_for`, and only while what was awaited last came as soon; give way to whoever wants the
// processor (sched_yield between two looks), and where somebody did, sleep instead, for
// kCrowdedFor: a wake-up is cheap there, and a look is not. Who waits for something slow, or for
// nothing, looks in vain once and sleeps from then on.
//
//   (Begin ─► (look ─► Again)* [─► sleep] ─► Came)*
//
// Thread   one at a time
#pragma once

#include <chrono>

#include "transport/rpc/mono_time.h"

namespace cistern::transport {

class Lookout {
 public:
  using Micros = std::chrono::microseconds;
  static constexpr Micros kCrowdedFor{2000};

  // What it has of the machine; a test brings its own.
  struct Machine {
    MonoTime (*now)() = MonoNow;
    void (*give_way)() = GiveWay;
  };

  explicit Lookout(Micros look_for) : Lookout(look_for, Machine()) {}
  Lookout(Micros look_for, Machine machine) : look_for_(look_for), machine_(machine) {}

  // The waiting begins. False: sleep at once.
  bool Begin();
  // Whether to look once more. Gives way before it says so.
  bool Again();
  // What was awaited has come, looked for or slept for.
  void Came();

 private:
  static void GiveWay();

  const Micros look_for_;
  const Machine machine_;
  bool soon_ = false;     // the last one came within look_for
  bool looking_ = false;  // and this one is being looked for
  bool looked_ = false;   // or has been
  MonoTime begun_;
  MonoTime crowded_until_ = MonoTime::min();
};

}  // namespace cistern::transport
