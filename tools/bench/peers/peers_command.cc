#include "tools/bench/peers/peers_command.h"

#include <cstdio>
#include <string>

#include <malloc.h>
#include <signal.h>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"

#include "base/status_macros.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/measure_command.h"
#include "tools/bench/peers/peers_run.h"

ABSL_DECLARE_FLAG(bool, json);
ABSL_DECLARE_FLAG(bool, flip_a_byte);
ABSL_DECLARE_FLAG(std::string, server);
ABSL_DECLARE_FLAG(std::string, sizes);
ABSL_DECLARE_FLAG(uint32_t, rounds);
ABSL_FLAG(std::string, peers, "redis,memcached", "peers: whom to measure beside the node");
ABSL_FLAG(std::string, over, "unix,tcp", "peers: within the host, or over 127.0.0.1");
ABSL_FLAG(std::string, connections, "1,8", "peers: at once, each with a thread of its own");
ABSL_FLAG(bool, plan_before, false,
          "peers: make a fetch's plan before the clock starts, as transfer does");

namespace cistern::tools {
namespace {

absl::StatusOr<PeersOptions> ChosenPeers() {
  PeersOptions options;
  CISTERN_ASSIGN_OR_RETURN(options.peers, ParsePeers(absl::GetFlag(FLAGS_peers)));
  CISTERN_ASSIGN_OR_RETURN(options.over_tcp, ParseOver(absl::GetFlag(FLAGS_over)));
  CISTERN_ASSIGN_OR_RETURN(options.connections, ParseConnections(absl::GetFlag(FLAGS_connections)));
  CISTERN_ASSIGN_OR_RETURN(options.shapes, ParseTransferShapes(absl::GetFlag(FLAGS_sizes)));
  CISTERN_ASSIGN_OR_RETURN(options.rounds, CheckedRounds(absl::GetFlag(FLAGS_rounds)));
  options.server = absl::GetFlag(FLAGS_server);
  options.flip_a_byte = absl::GetFlag(FLAGS_flip_a_byte);
  options.plan_before = absl::GetFlag(FLAGS_plan_before);
  return options;
}

absl::Status RunChosenPeers() {
  CISTERN_ASSIGN_OR_RETURN(const PeersOptions options, ChosenPeers());
  const bool json = absl::GetFlag(FLAGS_json);
  if (!json) std::fputs(PeersTableHead().c_str(), stdout);
  return RunPeers(options, [json](const PeerLine& line) { PrintLine(line, json); });
}

// The peers' libraries allocate a reply anew for every call: it comes from memory that the process
// has already, not from pages that the kernel must clear first.
void KeepFreedMemory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_ARENA_MAX, 1);
}

}  // namespace

int RunPeersCommand() {
  CleanUpOnSignals();
  signal(SIGPIPE, SIG_IGN);  // a server that dies is an error of the call
  KeepFreedMemory();
  return EndMeasuring("peers", RunChosenPeers());
}

}  // namespace cistern::tools
