// cistern-bench: whole workloads against a node. One subcommand, one file.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "base/command_line.h"
#include "tools/bench/evict/evict_command.h"
#include "tools/bench/peers/peers_command.h"
#include "tools/bench/pools/pools_command.h"
#include "tools/bench/python/python_command.h"
#include "tools/bench/replay_command.h"
#include "tools/bench/states/states_command.h"
#include "tools/bench/transfer/transfer_command.h"

namespace {

constexpr char kUsage[] = R"(cistern-bench: measure a Cistern node with whole workloads

  cistern-bench replay --workload repo
      An agent session over a source tree, served by a node of its own. Needs no data.
  cistern-bench replay --trace sessions/history.jsonl --layers 2 --json
      A recorded trace (pieces.jsonl beside it), the model's first two layers, one JSON object as the result.
  cistern-bench replay --workload repo --address unix:/run/cistern/node.sock
      The same against a node that runs already.

  cistern-bench pools --json
      The allocators of the AVMP paper beside the product's pools, one JSON object for each run.

  cistern-bench evict --trace conversation_trace.jsonl
      Eviction policies beside Belady's optimum, on a block trace in Mooncake's format (or on synthetic
      conversations).

  cistern-bench transfer --json
      Every path between a worker and a node beside its physical limit, one JSON object for each size.

  cistern-bench peers --json
      GET and SET of Redis and memcached beside fetch and publish of the same bytes. Needs their servers
      (Debian packages redis-server and memcached), which it starts itself.

  cistern-bench python --json
      The same calls from Python and from C++, one JSON object for each kind. Needs a build with ENABLE_PYTHON,
      or --python with cistern and numpy installed.

  cistern-bench states --json
      Folds, deferred decodes and verifies of recurrent state beside steps and a ring of 16, one JSON object for each.

Commands
  evict     token hit ratio and recompute cost saved, for every policy at 5, 10, 25 and 50 % of the footprint
  peers     GB/s of Redis and memcached beside the node's, within a host and over TCP, one connection and eight
  pools     out-of-memory counts, lost state and makespan of pool policies under recorded arrivals
  python    microseconds of lookups, fetches, blobs and publishes from Python, beside C++
  replay    plan, fetch, verify every row and state, compute the rest, publish; for every call of a trace
  states    GB/s of the recurrent kernels beside memory's, and how much faster they are than step by step
  transfer  GB/s and latency of reads in place, fetches, publishes, TCP, disk, lookups and eight workers at once
            beside their limits

With --help a command shows its own flags only.

Exit code: 0 all is well; 1 bad flags or no node; 2 rows did not match;
3 calls to the node failed.)";

int Complain(absl::string_view what) {
  std::fprintf(stderr, "cistern-bench: %s\n", std::string(what).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape): std::bad_alloc ends it
  if (cistern::base::HasFlag(argc, argv, "help") || cistern::base::HasFlag(argc, argv, "h")) {
    const std::string command = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
    std::printf("%s\n\nFlags\n%s", kUsage, cistern::base::FlagsHelp(command).c_str());
    return 0;
  }
  const absl::StatusOr<std::vector<std::string>> words =
      cistern::base::ParseCommandLine(argc, argv);
  if (!words.ok()) return Complain(words.status().message());
  if (words->empty())
    return Complain(
        "say what to measure: evict, peers, pools, python, replay, states or transfer; --help "
        "tells more");
  if (words->size() > 1) return Complain(absl::StrCat("'", words->at(1), "' is one word too many"));
  if (words->front() == "replay") return cistern::tools::RunReplayCommand();
  if (words->front() == "evict") return cistern::tools::RunEvictCommand();
  if (words->front() == "peers") return cistern::tools::RunPeersCommand();
  if (words->front() == "pools") return cistern::tools::RunPoolsCommand();
  if (words->front() == "python") return cistern::tools::RunPythonCommand();
  if (words->front() == "states") return cistern::tools::RunStatesCommand();
  if (words->front() == "transfer") return cistern::tools::RunTransferCommand();
  return Complain(
      absl::StrCat("there is no command '", words->front(),
                   "'; there are: evict, peers, pools, python, replay, states, transfer"));
}
