#include "tools/bench/pools/admission.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <queue>
#include <utility>

namespace cistern::tools {
namespace {

// A policy that trades capacity step by step may need many attempts; one that trades it back and
// forth would go on for ever.
constexpr int kMaxIdleAttempts = 4096;

class Admission {
 public:
  Admission(const std::vector<PoolRequest>& requests, PoolPolicy& policy)
      : requests_(requests), policy_(policy) {}

  AdmissionResult Run() {
    for (uint32_t id = 0; id < requests_.size(); ++id) {
      DepartUntil(std::max(now_, requests_[id].arrival));
      bool admitted = Admit(id);
      while (!admitted && !running_.empty()) {
        DepartUntil(running_.top().first);
        admitted = Admit(id);
      }
      if (!admitted && !AdmitIdle(id)) {
        ++result_.rejected;
        continue;
      }
      Start(id);
    }
    while (!running_.empty()) DepartUntil(running_.top().first);
    if (result_.completed > 0)
      result_.mean_wait_ticks = static_cast<double>(wait_) / static_cast<double>(result_.completed);
    return result_;
  }

 private:
  void DepartUntil(uint64_t tick) {
    now_ = tick;
    while (!running_.empty() && running_.top().first <= tick) {
      policy_.Release(running_.top().second);
      running_.pop();
    }
    policy_.Tick(tick);
  }

  bool Admit(uint32_t id) {
    const PoolRequest& request = requests_[id];
    if (!policy_.MayFit(FinalFootprint(request))) return false;
    const uint32_t pages = PagesFor(request.ticks());
    bool all = true;
    for (uint32_t i = 0; all && i < PoolModel::kAttentionLayers; ++i) {
      all = policy_.Allocate(id, BlockKind::kPage, pages);
    }
    for (uint32_t i = 0; all && i < PoolModel::kStateLayers; ++i) {
      all = policy_.Allocate(id, BlockKind::kState, 1);
    }
    if (!all) policy_.Release(id);
    return all;
  }

  // Nothing runs: as long as capacity changes its pool, the next attempt may be the one.
  bool AdmitIdle(uint32_t id) {
    for (int i = 0; i < kMaxIdleAttempts; ++i) {
      const uint64_t moved = policy_.counts().moved_bytes;
      if (Admit(id)) return true;
      if (policy_.counts().moved_bytes == moved) return false;
    }
    return false;
  }

  void Start(uint32_t id) {
    const uint64_t end = now_ + requests_[id].ticks();
    running_.emplace(end, id);
    wait_ += now_ - requests_[id].arrival;
    result_.makespan_ticks = std::max(result_.makespan_ticks, end);
    ++result_.completed;
  }

  using Departure = std::pair<uint64_t, uint32_t>;  // tick, request

  const std::vector<PoolRequest>& requests_;
  PoolPolicy& policy_;
  uint64_t now_ = 0;
  uint64_t wait_ = 0;
  std::priority_queue<Departure, std::vector<Departure>, std::greater<>> running_;
  AdmissionResult result_;
};

}  // namespace

AdmissionResult RunAdmission(const std::vector<PoolRequest>& requests, PoolPolicy& policy) {
  const auto begin = std::chrono::steady_clock::now();
  AdmissionResult result = Admission(requests, policy).Run();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace cistern::tools
