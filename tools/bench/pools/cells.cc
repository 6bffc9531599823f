#include "tools/bench/pools/cells.h"

#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "tools/bench/pools/admission.h"
#include "tools/bench/pools/open_loop.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kGib[] = {1, 4};

double NsPerOp(double seconds, uint64_t operations) {
  return operations == 0 ? 0 : seconds * 1e9 / static_cast<double>(operations);
}

}  // namespace

absl::StatusOr<PoolRun> RunPoolCell(const PolicyName& policy, const PoolWorkload& workload,
                                    const PoolModel& model, uint32_t gib) {
  PoolRun run{.policy = policy.text,
              .workload = workload.name,
              .model = model.name,
              .gib = gib,
              .replicate = workload.replicate,
              .requests = workload.requests.size()};
  PolicyOptions options{.model = model,
                        .total_bytes = uint64_t{gib} << 30,
                        .num_requests = static_cast<uint32_t>(workload.requests.size()),
                        .evict = false};
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<PoolPolicy> lossless, MakePolicy(policy, options));
  const AdmissionResult admitted = RunAdmission(workload.requests, *lossless);
  run.rejected = admitted.rejected;
  run.makespan_ticks = admitted.makespan_ticks;
  run.wait_ticks = admitted.mean_wait_ticks;
  if (!policy.lossy()) {
    run.oom = admitted.rejected;
    run.completed = run.intact = admitted.completed;
    const PolicyCounts counts = lossless->counts();
    run.moved_bytes = counts.moved_bytes;
    run.ns_per_op = NsPerOp(admitted.seconds - counts.rebalance_seconds - counts.ahead_seconds,
                            counts.operations);
    run.rebalances = counts.rebalances;
    run.rebalance_us = counts.rebalance_seconds * 1e6;
    run.ahead_us = counts.ahead_seconds * 1e6;
    run.ahead_bytes = counts.ahead_bytes;
    return run;
  }
  lossless.reset();
  options.evict = true;
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<PoolPolicy> lossy, MakePolicy(policy, options));
  const OpenLoopResult open = RunOpenLoop(workload.requests, *lossy);
  const PolicyCounts counts = lossy->counts();
  run.oom = open.oom;
  run.live_evictions = counts.live_evictions;
  run.completed = open.completed;
  run.intact = open.intact;
  run.moved_bytes = counts.moved_bytes;
  run.ns_per_op = NsPerOp(open.seconds, counts.operations);
  return run;
}

absl::StatusOr<std::vector<PoolRun>> RunPoolCells(const std::vector<PolicyName>& policies,
                                                  const std::vector<PoolWorkload>& workloads) {
  std::vector<PoolRun> runs;
  runs.reserve(policies.size() * workloads.size() * 4);
  for (const PolicyName& policy : policies) {
    for (const PoolModel& model : {JambaPools(), Mamba2Pools()}) {
      for (const uint32_t gib : kGib) {
        for (const PoolWorkload& workload : workloads) {
          CISTERN_ASSIGN_OR_RETURN(PoolRun run, RunPoolCell(policy, workload, model, gib));
          runs.push_back(std::move(run));
        }
      }
    }
  }
  return runs;
}

}  // namespace cistern::tools
