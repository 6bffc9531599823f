// Which stores fill memory that a process beside this one reads as it is filled: through the
// caches, or past them.
//
// Where both run on processors that share a cache, what the one has stored is there for the other,
// and stores past the caches are up to a half slower. Where they do not, each line that is stored
// to is first taken out of the other's cache, and stores past the caches are more than twice as
// fast. A scheduler moves threads, and a virtual machine's host moves its processors, within
// seconds, and nobody tells. So: the kind that was faster is used, the other one is tried now and
// then, and at once when the first becomes slow.
//
//   (Now ─► store ─► Took)*
//
// Thread   any; what several fill at once counts together
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"
#include "kernels/rows.h"

namespace cistern::client {

class StoreChoice {
 public:
  // A trial costs kTrialSamples of kEvery: the first one finds the memory as the other kind has
  // left it, and is not counted.
  static constexpr uint64_t kSampleBytes = 1 << 20;
  static constexpr uint32_t kTrialSamples = 2;
  static constexpr uint32_t kEvery = 128;   // samples between two trials
  static constexpr uint32_t kAtLeast = 16;  // likewise, at first or when the choice has become slow
  static constexpr double kSlow = 1.4;      // times what it took when it was chosen
  static constexpr double kWorthIt = 0.9;   // times what the present choice takes

  kernels::StoreHint Now();

  // Filling `bytes` by `stores` took so long.
  void Took(kernels::StoreHint stores, uint64_t bytes, std::chrono::nanoseconds time);

 private:
  using Kind = size_t;  // 0: through the caches, 1: past them
  static Kind KindOf(kernels::StoreHint stores) {
    return stores == kernels::StoreHint::kStream ? 1 : 0;
  }
  Kind TriedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return trying_ ? 1 - chosen_ : chosen_;
  }
  void SampleLocked(double cost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TrialLocked(double cost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::Mutex mutex_;
  Kind chosen_ ABSL_GUARDED_BY(mutex_) = 0;
  bool trying_ ABSL_GUARDED_BY(mutex_) = false;   // the other one
  bool tried_ ABSL_GUARDED_BY(mutex_) = false;    // ever
  uint32_t samples_ ABSL_GUARDED_BY(mutex_) = 0;  // of this trial, or since the last one
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;    // of this sample
  std::chrono::nanoseconds time_ ABSL_GUARDED_BY(mutex_){0};
  double cost_ ABSL_GUARDED_BY(mutex_) = 0;        // ns a byte, of what is chosen; 0: not known
  double first_cost_ ABSL_GUARDED_BY(mutex_) = 0;  // when it was chosen
};

}  // namespace cistern::client
