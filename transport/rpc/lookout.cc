#include "transport/rpc/lookout.h"

namespace cistern::transport {
namespace {

constexpr Lookout::Micros kWakeUp(50);    // what sleeping adds to a wait, at the most
constexpr Lookout::Micros kTakenOff(20);  // between two looks: somebody else has run
constexpr int kPauses = 16;               // about a third of a microsecond

void Pause() {
#if defined(__x86_64__)
  for (int i = 0; i < kPauses; ++i) __builtin_ia32_pause();
#endif
}

}  // namespace

bool Lookout::Begin(bool allowed) {
  begun_ = looked_last_ = now_();
  looking_ = looked_ = allowed && soon_ && begun_ >= crowded_until_;
  return looking_;
}

bool Lookout::Again() {
  if (!looking_) return false;
  Pause();
  const MonoTime now = now_();
  looking_ = now - begun_ < look_for_;
  if (now - looked_last_ >= kTakenOff) {
    crowded_until_ = now + kCrowdedFor;
    looking_ = false;
    return true;  // a last look: it was long
  }
  looked_last_ = now;
  return looking_;
}

void Lookout::Came() {
  const Micros allowed = looked_ ? look_for_ : look_for_ + kWakeUp;
  soon_ = now_() - begun_ <= allowed;
  looking_ = false;
}

}  // namespace cistern::transport
