#include "transport/rpc/lookout.h"

#include <sched.h>

namespace cistern::transport {
namespace {

constexpr Lookout::Micros kWakeUp(50);  // what sleeping adds to a wait, at the most
constexpr Lookout::Micros kGaveWay(5);  // a yield that takes so long has let somebody run

}  // namespace

void Lookout::GiveWay() { sched_yield(); }

bool Lookout::Begin() {
  begun_ = machine_.now();
  looking_ = looked_ = soon_ && begun_ >= crowded_until_;
  return looking_;
}

bool Lookout::Again() {
  if (!looking_) return false;
  const MonoTime before = machine_.now();
  if (before - begun_ >= look_for_) {
    looking_ = false;
    return false;
  }
  machine_.give_way();
  const MonoTime after = machine_.now();
  if (after - before >= kGaveWay) {
    crowded_until_ = after + kCrowdedFor;
    looking_ = false;
  }
  return true;
}

void Lookout::Came() {
  const Micros allowed = looked_ ? look_for_ : look_for_ + kWakeUp;
  soon_ = machine_.now() - begun_ <= allowed;
  looking_ = false;
}

}  // namespace cistern::transport
