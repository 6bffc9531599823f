// The paper's cells: workloads × {jamba, mamba2} × {1, 4} GiB × 3 replicates, for each policy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "tools/bench/pools/policy.h"
#include "tools/bench/pools/workload.h"

namespace cistern::tools {

// One policy, one workload, one model, one size, one replicate.
struct PoolRun {
  std::string policy;
  std::string workload;
  std::string model;
  uint32_t gib = 0;
  uint32_t replicate = 0;
  uint64_t requests = 0;
  // Of the published policies, in the paper's run: failed calls, evictions of running requests,
  // requests that finished without either. Of the others, under admission control: requests that
  // the empty arena could not hold, 0, requests that finished.
  uint64_t oom = 0;
  uint64_t live_evictions = 0;
  uint64_t completed = 0;  // without a failed call; damaged or not
  uint64_t intact = 0;
  // Under admission control, all policies.
  uint64_t rejected = 0;
  uint64_t makespan_ticks = 0;
  double wait_ticks = 0;  // mean
  // In the run that `oom` is from.
  uint64_t moved_bytes = 0;
  double ns_per_op = 0;  // of the run's time but rebalancing, for each block taken or given back
  // Of ours: how often a call that waited for a block moved others, and what searching and moving
  // took; with the predictor, what it took between calls, and how much of moved_bytes was moved
  // there.
  uint64_t rebalances = 0;
  double rebalance_us = 0;
  double ahead_us = 0;
  uint64_t ahead_bytes = 0;
};

absl::StatusOr<PoolRun> RunPoolCell(const PolicyName& policy, const PoolWorkload& workload,
                                    const PoolModel& model, uint32_t gib);

// Every model and size for every policy and workload; replicates of a cell lie side by side.
absl::StatusOr<std::vector<PoolRun>> RunPoolCells(const std::vector<PolicyName>& policies,
                                                  const std::vector<PoolWorkload>& workloads);

// Means over the replicates of one cell, or sums of such means.
struct PoolSummary {
  std::string policy;
  std::string workload;  // empty: a sum over the synthetic workloads, which the paper's totals are
  std::string model;
  uint32_t gib = 0;
  double requests = 0, oom = 0, live_evictions = 0, completed = 0, intact = 0, rejected = 0;
  double makespan_ticks = 0, wait_ticks = 0, moved_bytes = 0, ns_per_op = 0;
  double rebalances = 0, rebalance_us = 0, ahead_us = 0, ahead_bytes = 0;
};
std::vector<PoolSummary> SummarizeCells(const std::vector<PoolRun>& runs);
// One for each policy. ns_per_op and wait_ticks are means over the cells.
std::vector<PoolSummary> SummarizeTotals(const std::vector<PoolSummary>& cells);

// One object a line: policy, workload, model, gib, replicate, requests, oom, live_evictions,
// intact, makespan_ticks, wait_ticks, moved_bytes, ns_per_op.
std::string PoolRunsToJson(const std::vector<PoolRun>& runs);
std::string PoolRunsToTable(const std::vector<PoolRun>& runs);

}  // namespace cistern::tools
