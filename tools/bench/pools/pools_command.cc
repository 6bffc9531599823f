#include "tools/bench/pools/pools_command.h"

#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"
#include "tools/bench/pools/cells.h"
#include "tools/bench/pools/synthetic_workload.h"

ABSL_DECLARE_FLAG(bool, json);
ABSL_FLAG(
    std::string, workloads, "",
    "pools: a folder with sharegpt_replay_{0,1,2}.csv, and any of uniform_short, mixed_long and "
    "agentic_burst that shall not be drawn; empty = only these three, drawn");
ABSL_FLAG(std::string, policies, "padded,static 0.5,static 0.9,avmp 128,shared,ours,ours+predictor",
          "pools: which to compare; also static 0.1 to 0.9 and avmp 1 to 256");

namespace cistern::tools {
namespace {

absl::StatusOr<std::vector<PolicyName>> ChosenPolicies() {
  std::vector<PolicyName> policies;
  const std::string text = absl::GetFlag(FLAGS_policies);
  for (const absl::string_view word : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    CISTERN_ASSIGN_OR_RETURN(PolicyName name, ParsePolicyName(absl::StripAsciiWhitespace(word)));
    policies.push_back(std::move(name));
  }
  if (policies.empty()) return absl::InvalidArgumentError("--policies names none");
  return policies;
}

absl::StatusOr<std::vector<PoolRun>> CompareChosen() {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<PolicyName> policies, ChosenPolicies());
  CISTERN_ASSIGN_OR_RETURN(const std::vector<PoolWorkload> workloads,
                           PaperWorkloads(absl::GetFlag(FLAGS_workloads)));
  if (absl::GetFlag(FLAGS_workloads).empty()) {
    std::fprintf(stderr,
                 "without --workloads: the three synthetic workloads are drawn, sharegpt_replay is "
                 "left out\n");
  }
  return RunPoolCells(policies, workloads);
}

}  // namespace

int RunPoolsCommand() {
  const absl::StatusOr<std::vector<PoolRun>> runs = CompareChosen();
  if (!runs.ok()) {
    std::fprintf(stderr, "cistern-bench pools: %s\n", std::string(runs.status().message()).c_str());
    return 1;
  }
  std::fputs((absl::GetFlag(FLAGS_json) ? PoolRunsToJson(*runs) : PoolRunsToTable(*runs)).c_str(),
             stdout);
  return 0;
}

}  // namespace cistern::tools
