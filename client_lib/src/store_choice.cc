#include "client_lib/src/store_choice.h"

#include <algorithm>

namespace cistern::client {
namespace {

constexpr double kWeight = 0.25;  // of a sample
constexpr double kMost = 2;       // times the cost so far: beyond that somebody else has run

}  // namespace

kernels::StoreHint StoreChoice::Now() {
  base::MutexLock lock(&mutex_);
  return TriedLocked() == 1 ? kernels::StoreHint::kStream : kernels::StoreHint::kCached;
}

void StoreChoice::Took(kernels::StoreHint stores, uint64_t bytes, std::chrono::nanoseconds time) {
  base::MutexLock lock(&mutex_);
  if (KindOf(stores) != TriedLocked()) return;  // begun before the choice
  bytes_ += bytes;
  time_ += time;
  if (bytes_ < kSampleBytes) return;
  const double cost = static_cast<double>(time_.count()) / static_cast<double>(bytes_);
  bytes_ = 0;
  time_ = {};
  ++samples_;
  trying_ ? TrialLocked(cost) : SampleLocked(cost);
}

void StoreChoice::SampleLocked(double cost) {
  cost_ = cost_ == 0 ? cost : cost_ + kWeight * (std::min(cost, kMost * cost_) - cost_);
  // A first sample may have been slow by chance.
  first_cost_ = first_cost_ == 0 ? cost_ : std::min(first_cost_, cost_);
  const bool soon = !tried_ || cost_ > kSlow * first_cost_;
  if (samples_ < (soon ? kAtLeast : kEvery)) return;
  trying_ = tried_ = true;
  samples_ = 0;
}

void StoreChoice::TrialLocked(double cost) {
  if (samples_ < kTrialSamples) return;
  trying_ = false;
  samples_ = 0;
  if (cost < kWorthIt * cost_) {
    chosen_ = 1 - chosen_;
    cost_ = cost;
  }
  first_cost_ = cost_;
}

}  // namespace cistern::client
