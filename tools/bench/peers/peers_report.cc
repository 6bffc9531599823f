#include "tools/bench/peers/peers_report.h"

#include "absl/strings/str_format.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {

std::string ToJson(const PeerLine& line) {
  const nlohmann::ordered_json json = {
      {"peer", line.peer},           {"op", line.op},
      {"bytes", line.bytes},         {"connections", line.connections},
      {"peer_gbps", line.peer_gbps}, {"ours_gbps", line.ours_gbps},
      {"ratio", line.ratio()},       {"over", line.over}};
  return json.dump();
}

std::string PeersTableHead() {
  return absl::StrFormat("%-5s %-10s %-4s %10s %12s %10s %10s %8s\n", "over", "peer", "op", "bytes",
                         "connections", "its GB/s", "ours GB/s", "ratio");
}

std::string ToTableRow(const PeerLine& line) {
  return absl::StrFormat("%-5s %-10s %-4s %10d %12d %10.3f %10.3f %8.2f\n", line.over, line.peer,
                         line.op, line.bytes, line.connections, line.peer_gbps, line.ours_gbps,
                         line.ratio());
}

}  // namespace cistern::tools
