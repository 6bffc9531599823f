// cistern-bench: whole workloads against a node. One subcommand, one file.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"

#include "tools/bench/evict/evict_command.h"
#include "tools/bench/pools/pools_command.h"
#include "tools/bench/replay_command.h"

namespace {

constexpr char kUsage[] = R"(cistern-bench: measure a Cistern node with whole workloads

  cistern-bench replay --workload repo
      An agent session over a source tree, served by a node of its own. Needs no data.
  cistern-bench replay --trace sessions/history.jsonl --layers 2 --json
      A recorded trace (pieces.jsonl beside it), the model's first two layers, one JSON object as the result.
  cistern-bench replay --workload repo --address unix:/run/cistern/node.sock
      The same against a node that runs already.

  cistern-bench pools --workloads avmp --json
      The allocators of the AVMP paper beside the product's pools, one JSON object for each run.

  cistern-bench evict --trace conversation_trace.jsonl
      Eviction policies beside Belady's optimum, on a block trace in Mooncake's format (or on synthetic
      conversations).

Commands
  evict     token hit ratio and recompute cost saved, for every policy at 5, 10, 25 and 50 % of the footprint
  pools     out-of-memory counts, lost state and makespan of pool policies under recorded arrivals
  replay    plan, fetch, verify every row, compute the rest, publish; for every call of a trace

`cistern-bench --help` lists every flag. Exit code: 0 all is well; 1 bad flags or no node; 2 rows did not match;
3 calls to the node failed.)";

}  // namespace

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape): std::bad_alloc ends it
  absl::SetProgramUsageMessage(kUsage);
  absl::FlagsUsageConfig config;
  config.contains_help_flags = [](absl::string_view file) {
    return absl::StrContains(file, "tools/bench/");
  };
  absl::SetFlagsUsageConfig(config);
  std::vector<char*> words = absl::ParseCommandLine(argc, argv);
  if (words.size() == 2 && std::string(words[1]) == "replay")
    return cistern::tools::RunReplayCommand();
  if (words.size() == 2 && std::string(words[1]) == "evict")
    return cistern::tools::RunEvictCommand();
  if (words.size() == 2 && std::string(words[1]) == "pools")
    return cistern::tools::RunPoolsCommand();
  std::fprintf(stderr, "%s\n", kUsage);
  return 1;
}
