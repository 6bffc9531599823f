// How fast this client gets bytes from its node: measured as it runs, forgetting slowly. Feeds the
// cost model.
//
// Thread   any
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

#include "base/mutex.h"
#include "cistern/policy.h"

namespace cistern::client {

class Rates {
 public:
  // What was measured takes the place of what the caller gave.
  explicit Rates(const CostModel& given) : cost_(given) {}

  void AddFetch(uint64_t bytes, absl::Duration took) {
    Add(bytes, took, &CostModel::fetch_bytes_per_second);
  }
  void AddDisk(uint64_t bytes, absl::Duration took) {
    Add(bytes, took, &CostModel::disk_bytes_per_second);
  }
  CostModel Now() const {
    base::MutexLock lock(&mutex_);
    return cost_;
  }

 private:
  static constexpr double kNewWeight = 0.2;
  static constexpr uint64_t kMinBytes = 1 << 20;  // less says more about latency than about rate

  void Add(uint64_t bytes, absl::Duration took, double CostModel::*rate) {
    const double seconds = absl::ToDoubleSeconds(took);
    if (bytes < kMinBytes || seconds <= 0) return;
    const double now = static_cast<double>(bytes) / seconds;
    base::MutexLock lock(&mutex_);
    double& known = cost_.*rate;
    known = known == 0 ? now : known + kNewWeight * (now - known);
  }

  mutable base::Mutex mutex_;
  CostModel cost_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::client
