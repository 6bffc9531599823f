// What `cistern-bench peers` says: one line for each peer, operation, size, number of connections
// and transport.
#pragma once

#include <cstdint>
#include <string>

namespace cistern::tools {

struct PeerLine {
  std::string peer;  // "redis"
  std::string op;    // "GET", "SET"
  uint64_t bytes = 0;
  uint32_t connections = 1;
  double peer_gbps = 0, ours_gbps = 0;  // 10^9 bytes a second, all connections together
  std::string over;                     // "unix", "tcp"

  double ratio() const { return peer_gbps > 0 ? ours_gbps / peer_gbps : 0; }
};

std::string ToJson(const PeerLine& line);  // one line, without its end
std::string PeersTableHead();
std::string ToTableRow(const PeerLine& line);

}  // namespace cistern::tools
