#include "tools/bench/states/states_command.h"

#include <cstdio>
#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"
#include "tools/bench/measure_command.h"
#include "tools/bench/states/states_run.h"

ABSL_DECLARE_FLAG(bool, json);
ABSL_DECLARE_FLAG(uint32_t, rounds);
ABSL_FLAG(std::string, kernels, "fold,decode,verify", "states: which to measure");
ABSL_FLAG(std::string, families, "",
          "states: models or families to measure, as the table names them; empty = all");
ABSL_FLAG(std::string, tokens, "", "states: only cases of so many tokens; empty = all");
ABSL_FLAG(uint32_t, batch, 32, "states: sequences of one call");
ABSL_FLAG(uint32_t, region_mib, 128,
          "states: MiB of state that are worked on in turn; four last-level caches or more");

namespace cistern::tools {
namespace {

// Whether `list` is empty or names one of the two.
bool Named(const std::string& list, absl::string_view a, absl::string_view b) {
  if (list.empty()) return true;
  for (const absl::string_view word : absl::StrSplit(list, ',')) {
    if (word == a || word == b) return true;
  }
  return false;
}

absl::Status RunChosenStates() {
  CISTERN_ASSIGN_OR_RETURN(
      const std::vector<StatesCase> all,
      ParseStatesCases(absl::GetFlag(FLAGS_kernels), absl::GetFlag(FLAGS_batch)));
  StatesOptions options;
  CISTERN_ASSIGN_OR_RETURN(options.rounds, CheckedRounds(absl::GetFlag(FLAGS_rounds)));
  options.region_bytes = uint64_t{absl::GetFlag(FLAGS_region_mib)} << 20;
  if (options.region_bytes == 0 || options.region_bytes > 4ull << 30)
    return absl::InvalidArgumentError("--region_mib: from 1 to 4096");
  const std::string families = absl::GetFlag(FLAGS_families), tokens = absl::GetFlag(FLAGS_tokens);
  std::vector<StatesCase> cases;
  for (const StatesCase& c : all) {
    if (Named(families, c.layer.model, c.layer.family) &&
        Named(tokens, std::to_string(c.tokens), ""))
      cases.push_back(c);
  }
  if (cases.empty()) return absl::InvalidArgumentError("--families and --tokens leave no case");
  const bool json = absl::GetFlag(FLAGS_json);
  if (!json) std::fputs(StatesTableHead().c_str(), stdout);
  return RunStates(cases, options, [json](const StatesLine& line) { PrintLine(line, json); });
}

}  // namespace

int RunStatesCommand() { return EndMeasuring("states", RunChosenStates()); }

}  // namespace cistern::tools
