#include "tools/bench/states/states_report.h"

#include "absl/strings/str_format.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {

std::string ToJson(const StatesLine& line) {
  const nlohmann::ordered_json json = {{"kernel", line.kernel},
                                       {"model", line.model},
                                       {"family", line.family},
                                       {"shape", line.shape},
                                       {"batch", line.batch},
                                       {"tokens", line.tokens},
                                       {"gbps", line.gbps},
                                       {"limit_gbps", line.limit_gbps},
                                       {"ratio_to_limit", line.ratio_to_limit},
                                       {"speedup_over_steps", line.speedup_over_steps},
                                       {"speedup_over_ring16", line.speedup_over_ring16},
                                       {"max_rel_l2", line.max_rel_l2},
                                       {"rounds", line.rounds}};
  return json.dump();
}

std::string StatesTableHead() {
  return absl::StrFormat("%-7s %-16s %-12s %-19s %5s %6s %7s %7s %6s %7s %7s %9s\n", "kernel",
                         "model", "family", "heads x V x K", "batch", "tokens", "GB/s", "limit",
                         "ratio", "x steps", "x ring", "rel L2");
}

std::string ToTableRow(const StatesLine& line) {
  return absl::StrFormat("%-7s %-16s %-12s %-19s %5d %6d %7.2f %7.2f %6.2f %7.2f %7.2f %9.1e\n",
                         line.kernel, line.model, line.family, line.shape, line.batch, line.tokens,
                         line.gbps, line.limit_gbps, line.ratio_to_limit, line.speedup_over_steps,
                         line.speedup_over_ring16, line.max_rel_l2);
}

}  // namespace cistern::tools
