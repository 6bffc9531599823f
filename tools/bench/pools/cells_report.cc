#include <algorithm>

#include "absl/strings/str_format.h"

#include "tools/bench/pools/cells.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

void Add(const PoolSummary& from, double weight, PoolSummary& to) {
  to.requests += weight * from.requests;
  to.oom += weight * from.oom;
  to.live_evictions += weight * from.live_evictions;
  to.completed += weight * from.completed;
  to.intact += weight * from.intact;
  to.rejected += weight * from.rejected;
  to.makespan_ticks += weight * from.makespan_ticks;
  to.wait_ticks += weight * from.wait_ticks;
  to.moved_bytes += weight * from.moved_bytes;
  to.ns_per_op += weight * from.ns_per_op;
  to.rebalances += weight * from.rebalances;
  to.rebalance_us += weight * from.rebalance_us;
  to.ahead_us += weight * from.ahead_us;
  to.ahead_bytes += weight * from.ahead_bytes;
}

PoolSummary Numbers(const PoolRun& run) {
  return {.policy = run.policy,
          .workload = run.workload,
          .model = run.model,
          .gib = run.gib,
          .requests = static_cast<double>(run.requests),
          .oom = static_cast<double>(run.oom),
          .live_evictions = static_cast<double>(run.live_evictions),
          .completed = static_cast<double>(run.completed),
          .intact = static_cast<double>(run.intact),
          .rejected = static_cast<double>(run.rejected),
          .makespan_ticks = static_cast<double>(run.makespan_ticks),
          .wait_ticks = run.wait_ticks,
          .moved_bytes = static_cast<double>(run.moved_bytes),
          .ns_per_op = run.ns_per_op,
          .rebalances = static_cast<double>(run.rebalances),
          .rebalance_us = run.rebalance_us,
          .ahead_us = run.ahead_us,
          .ahead_bytes = static_cast<double>(run.ahead_bytes)};
}

bool SameCell(const PoolRun& a, const PoolRun& b) {
  return a.policy == b.policy && a.workload == b.workload && a.model == b.model && a.gib == b.gib;
}

std::string Row(const PoolSummary& s) {
  const std::string cell = s.workload.empty()
                               ? "all synthetic"
                               : absl::StrFormat("%s %s %d", s.workload, s.model, s.gib);
  return absl::StrFormat(
      "%-14s %-25s %9.1f %10.1f %9.1f %9.1f %8.1f %11.0f %10.0f %9.1f %7.1f %7.0f %9.0f %9.1f "
      "%9.0f\n",
      s.policy, cell, s.oom, s.live_evictions, s.completed, s.intact, s.rejected, s.makespan_ticks,
      s.wait_ticks, s.moved_bytes / (1 << 20), s.ns_per_op, s.rebalances, s.rebalance_us,
      s.ahead_bytes / (1 << 20), s.ahead_us);
}

}  // namespace

std::vector<PoolSummary> SummarizeCells(const std::vector<PoolRun>& runs) {
  std::vector<PoolSummary> cells;
  for (size_t begin = 0, end = 0; begin < runs.size(); begin = end) {
    while (end < runs.size() && SameCell(runs[begin], runs[end])) ++end;
    PoolSummary cell{.policy = runs[begin].policy,
                     .workload = runs[begin].workload,
                     .model = runs[begin].model,
                     .gib = runs[begin].gib};
    for (size_t i = begin; i < end; ++i)
      Add(Numbers(runs[i]), 1.0 / static_cast<double>(end - begin), cell);
    cells.push_back(cell);
  }
  return cells;
}

std::vector<PoolSummary> SummarizeTotals(const std::vector<PoolSummary>& cells) {
  std::vector<PoolSummary> totals;
  std::vector<double> counted;
  for (const PoolSummary& cell : cells) {
    if (cell.workload == kShareGptReplay) continue;  // not in the paper's totals
    if (totals.empty() || totals.back().policy != cell.policy) {
      totals.push_back({.policy = cell.policy});
      counted.push_back(0);
    }
    Add(cell, 1, totals.back());
    ++counted.back();
  }
  for (size_t i = 0; i < totals.size(); ++i) {
    totals[i].wait_ticks /= counted[i];
    totals[i].ns_per_op /= counted[i];
  }
  return totals;
}

std::string PoolRunsToJson(const std::vector<PoolRun>& runs) {
  std::string text;
  for (const PoolRun& run : runs) {
    text += nlohmann::ordered_json{{"policy", run.policy},
                                   {"workload", run.workload},
                                   {"model", run.model},
                                   {"gib", run.gib},
                                   {"replicate", run.replicate},
                                   {"requests", run.requests},
                                   {"oom", run.oom},
                                   {"live_evictions", run.live_evictions},
                                   {"intact", run.intact},
                                   {"makespan_ticks", run.makespan_ticks},
                                   {"wait_ticks", run.wait_ticks},
                                   {"moved_bytes", run.moved_bytes},
                                   {"ns_per_op", run.ns_per_op}}
                .dump();
    text += '\n';
  }
  return text;
}

std::string PoolRunsToTable(const std::vector<PoolRun>& runs) {
  std::string text = absl::StrFormat(
      "%-14s %-25s %9s %10s %9s %9s %8s %11s %10s %9s %7s %7s %9s %9s %9s\n", "policy",
      "cell (GiB)", "oom", "live evict", "completed", "intact", "rejected", "makespan", "mean wait",
      "moved MiB", "ns/op", "rebal.", "rebal. us", "ahead MiB", "ahead us");
  const std::vector<PoolSummary> cells = SummarizeCells(runs);
  for (const PoolSummary& cell : cells) text += Row(cell);
  text += '\n';
  for (const PoolSummary& total : SummarizeTotals(cells)) text += Row(total);
  return text;
}

}  // namespace cistern::tools
