#include "tools/bench/peers/contest.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "tools/bench/transfer/transfer_calls.h"

namespace cistern::tools {
namespace {

uint64_t LargestRound(const PeersOptions& options) {
  uint64_t largest = 0;
  for (const TransferShape& shape : options.shapes) {
    for (const uint32_t workers : options.connections)
      largest = std::max(largest, shape.bytes() * workers * PeerOperations(shape.bytes(), workers));
  }
  return largest;
}

uint64_t LargestValue(const PeersOptions& options) {
  uint64_t largest = 0;
  for (const TransferShape& shape : options.shapes) largest = std::max(largest, shape.bytes());
  return largest;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Contest>> Contest::Start(const PeersOptions& options, bool tcp) {
  std::unique_ptr<Contest> contest(new Contest(tcp));
  CISTERN_ASSIGN_OR_RETURN(contest->scratch_, ScratchDirectory::Make());
  const std::string& directory = contest->scratch_->path();
  const uint64_t total = LargestRound(options);
  for (const PeerKind kind : options.peers) {
    Contestant peer{.kind = kind};
    CISTERN_ASSIGN_OR_RETURN(peer.server,
                             PeerServer::Start({.kind = kind,
                                                .tcp = tcp,
                                                .directory = directory,
                                                .max_value_bytes = LargestValue(options),
                                                .total_bytes = total}));
    contest->peers_.push_back(std::move(peer));
  }
  NodeProcessOptions node{.binary = options.server,
                          .directory = directory,
                          .pool_bytes = 2 * total + (512ull << 20),
                          .disk = false};
  if (tcp) node.more_flags.emplace_back("--ucx_address=127.0.0.1:0");
  CISTERN_ASSIGN_OR_RETURN(contest->node_, NodeProcess::Start(node));
  contest->address_ = contest->node_->address();
  CISTERN_ASSIGN_OR_RETURN(contest->admin_, transport::Connect(contest->address_, {}));
  if (tcp) {
    CISTERN_ASSIGN_OR_RETURN(contest->address_, UcxAddress(*contest->admin_));
  }
  return contest;
}

absl::Status Contest::Connect(uint32_t workers) {
  ours_.clear();
  for (Contestant& peer : peers_) peer.connections.clear();
  for (uint32_t worker = 0; worker < workers; ++worker) {
    CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<Client> client,
                             Client::Connect({.address = address_}));
    ours_.push_back(std::move(client));
    for (Contestant& peer : peers_) {
      CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<PeerClient> connection,
                               PeerClient::Connect(peer.kind, peer.server->address()));
      peer.connections.push_back(std::move(connection));
    }
  }
  return absl::OkStatus();
}

}  // namespace cistern::tools
