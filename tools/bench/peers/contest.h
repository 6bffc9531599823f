// The node and the peers of one transport, and so many connections to each.
//
// Thread   one at a time; a worker's connections may be used beside those of other workers
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "cistern/client.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/node_process.h"
#include "tools/bench/peers/peer_client.h"
#include "tools/bench/peers/peers_run.h"
#include "tools/bench/transfer/cold_memory.h"
#include "transport/link.h"

namespace cistern::tools {

struct Contestant {
  PeerKind kind;
  std::unique_ptr<PeerServer> server;
  std::vector<std::unique_ptr<PeerClient>> connections;  // [worker]
};

class Contest {
 public:
  static absl::StatusOr<std::unique_ptr<Contest>> Start(const PeersOptions& options, bool tcp);

  // Replaces what there was.
  absl::Status Connect(uint32_t workers);

  bool tcp() const { return tcp_; }
  std::vector<Contestant>& peers() { return peers_; }
  Client& ours(uint32_t worker) { return *ours_[worker]; }
  transport::Link& admin() { return *admin_; }

 private:
  explicit Contest(bool tcp) : tcp_(tcp) {}

  const bool tcp_;
  std::unique_ptr<ScratchDirectory> scratch_;  // goes last
  std::vector<Contestant> peers_;
  std::unique_ptr<NodeProcess> node_;
  std::string address_;
  std::unique_ptr<transport::Link> admin_;
  std::vector<std::unique_ptr<Client>> ours_;  // [worker]
};

// ---- What is measured with it, one line for each peer

absl::Status MeasureGet(const PeersOptions& options, const TransferShape& shape, uint32_t workers,
                        Contest& contest, CacheSweep& sweep, const EmitPeerLine& emit);
absl::Status MeasureSet(const PeersOptions& options, const TransferShape& shape, uint32_t workers,
                        Contest& contest, CacheSweep& sweep, const EmitPeerLine& emit);

}  // namespace cistern::tools
