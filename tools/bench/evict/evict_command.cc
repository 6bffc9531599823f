#include "tools/bench/evict/evict_command.h"

#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"

#include "base/model_presets.h"
#include "base/status_macros.h"
#include "tools/bench/evict/evict_report.h"

ABSL_DECLARE_FLAG(bool, json);
ABSL_DECLARE_FLAG(std::string, trace);
ABSL_FLAG(std::string, cost_model, "deepseek-v3",
          "evict: the model preset whose FLOPs are what a block costs");

namespace cistern::tools {
namespace {

absl::StatusOr<std::vector<EvictRun>> ReplayChosenTrace() {
  CISTERN_ASSIGN_OR_RETURN(const base::ModelSpec model,
                           base::ModelPreset(absl::GetFlag(FLAGS_cost_model)));
  const std::string path = absl::GetFlag(FLAGS_trace);
  if (path.empty()) {
    std::fprintf(stderr, "without --trace: synthetic conversations\n");
    return CompareEviction(SyntheticBlockTrace(), model);
  }
  CISTERN_ASSIGN_OR_RETURN(const BlockTrace trace, LoadBlockTrace(path));
  return CompareEviction(trace, model);
}

}  // namespace

int RunEvictCommand() {
  const absl::StatusOr<std::vector<EvictRun>> runs = ReplayChosenTrace();
  if (!runs.ok()) {
    std::fprintf(stderr, "cistern-bench evict: %s\n", std::string(runs.status().message()).c_str());
    return 1;
  }
  std::fputs((absl::GetFlag(FLAGS_json) ? EvictRunsToJson(*runs) : EvictRunsToTable(*runs)).c_str(),
             stdout);
  return 0;
}

}  // namespace cistern::tools
