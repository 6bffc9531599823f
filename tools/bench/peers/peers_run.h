// `cistern-bench peers`: GET and SET of Redis and memcached beside fetch and publish of the same
// rows, in the same rounds.
//
// Errors  InvalidArgument, NotFound, FailedPrecondition: the run could not be made. DataLoss: a
// byte was not what it should be. Others: a call to the node or to a peer failed
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "tools/bench/peers/peer_server.h"
#include "tools/bench/peers/peers_report.h"
#include "tools/bench/transfer/transfer_shape.h"

namespace cistern::tools {

struct PeersOptions {
  std::vector<PeerKind> peers;
  std::vector<bool> over_tcp;  // in this order: over TCP, or else over a unix socket
  std::vector<uint32_t> connections;
  std::vector<TransferShape> shapes;
  uint32_t rounds = 5;
  std::string server;        // cistern-server; empty: NodeProcess finds it
  bool flip_a_byte = false;  // of what has come, before it is checked: the check must see it
  bool plan_before = false;  // a fetch's plan is not timed
};

inline constexpr uint32_t kMaxConnections = 64;

// Words with commas between them, each once. InvalidArgument: one is unknown, or there are none.
absl::StatusOr<std::vector<PeerKind>> ParsePeers(absl::string_view words);
absl::StatusOr<std::vector<bool>> ParseOver(absl::string_view words);  // "unix", "tcp"
absl::StatusOr<std::vector<uint32_t>> ParseConnections(absl::string_view words);

// Operations of each connection in a round: 64 MiB of all of them, at most 64.
uint32_t PeerOperations(uint64_t bytes, uint32_t connections);

using EmitPeerLine = std::function<void(const PeerLine& line)>;

// Starts the servers and the node, one set for each transport, and ends them. `emit` gets each line
// when it is there.
absl::Status RunPeers(const PeersOptions& options, const EmitPeerLine& emit);

}  // namespace cistern::tools
