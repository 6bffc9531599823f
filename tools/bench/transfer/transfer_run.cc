#include "tools/bench/transfer/transfer_run.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

#include "base/status_macros.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/node_process.h"
#include "tools/bench/transfer/compare.h"

namespace cistern::tools {
namespace {

bool Wants(const TransferOptions& options, absl::string_view path) {
  return std::find(options.paths.begin(), options.paths.end(), path) != options.paths.end();
}

bool WantsTcp(const TransferOptions& options) {
  return Wants(options, "tcp_fetch") || Wants(options, "tcp_publish") || Wants(options, "lookup");
}

// What is stored for one shape and what is published in a round, with room for part-full pages.
uint64_t PoolBytes(const TransferOptions& options) {
  uint64_t largest = 0;
  for (const TransferShape& shape : options.shapes)
    largest = std::max(largest, OperationsFor(shape.bytes()) * shape.bytes());
  uint64_t of_workers = 0;
  for (const TransferShape& shape : options.shapes) {
    const uint64_t sequences = SequencesOfAWorker(shape.bytes(), options.workers);
    of_workers = std::max(of_workers, options.workers * sequences * shape.bytes());
  }
  if (!Wants(options, "workers")) of_workers = 0;
  return std::max(4 * largest, 2 * of_workers) + (512ull << 20);
}

// The node in memory and all connections to it.
struct MemoryNode {
  std::unique_ptr<ScratchDirectory> scratch;
  std::unique_ptr<NodeProcess> process;
  TransferPeers peers;
};

absl::StatusOr<MemoryNode> StartNode(const TransferOptions& options, RawTcp* tcp) {
  MemoryNode node;
  CISTERN_ASSIGN_OR_RETURN(node.scratch, ScratchDirectory::Make());
  NodeProcessOptions process{.binary = options.server,
                             .directory = node.scratch->path(),
                             .pool_bytes = PoolBytes(options),
                             .disk = false};
  if (WantsTcp(options)) process.more_flags.emplace_back("--ucx_address=127.0.0.1:0");
  CISTERN_ASSIGN_OR_RETURN(node.process, NodeProcess::Start(process));
  const std::string local = node.process->address();
  CISTERN_ASSIGN_OR_RETURN(node.peers.local, Client::Connect({.address = local}));
  CISTERN_ASSIGN_OR_RETURN(node.peers.raw, transport::Connect(local, {}));
  node.peers.address = local;
  node.peers.tcp = tcp;
  if (!WantsTcp(options)) return node;
  CISTERN_ASSIGN_OR_RETURN(const std::string remote, UcxAddress(*node.peers.raw));
  CISTERN_ASSIGN_OR_RETURN(node.peers.remote, Client::Connect({.address = remote}));
  CISTERN_ASSIGN_OR_RETURN(node.peers.raw_remote, transport::Connect(remote, {}));
  return node;
}

absl::Status RunShape(const TransferOptions& options, const TransferShape& shape,
                      TransferPeers& peers, CacheSweep& sweep, const EmitLine& emit) {
  if (Wants(options, "inplace") || Wants(options, "fetch") || Wants(options, "tcp_fetch")) {
    PagedObjects stored(shape.model, shape.tokens, OperationsFor(shape.bytes()));
    for (uint32_t i = 0; i < stored.count(); ++i) {
      stored.Draw(i, i + 1);
      stored.Compute(i);
      CISTERN_RETURN_IF_ERROR(PublishAll(*peers.local, stored, i, stored.Source(i)));
    }
    if (Wants(options, "inplace"))
      CISTERN_RETURN_IF_ERROR(MeasureInPlace(options, shape, stored, peers, sweep, emit));
    for (const bool tcp : {false, true}) {
      if (Wants(options, tcp ? "tcp_fetch" : "fetch"))
        CISTERN_RETURN_IF_ERROR(MeasureFetch(options, shape, stored, peers, tcp, sweep, emit));
    }
    CISTERN_RETURN_IF_ERROR(EvictModel(*peers.raw, shape.model));
  }
  for (const bool tcp : {false, true}) {
    if (Wants(options, tcp ? "tcp_publish" : "publish"))
      CISTERN_RETURN_IF_ERROR(MeasurePublish(options, shape, peers, tcp, sweep, emit));
  }
  if (Wants(options, "workers"))
    CISTERN_RETURN_IF_ERROR(MeasureWorkers(options, shape, peers, sweep, emit));
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTransfers(const TransferOptions& options, const EmitLine& emit) {
  std::unique_ptr<RawTcp> tcp;
  if (WantsTcp(options)) {
    CISTERN_ASSIGN_OR_RETURN(tcp, RawTcp::Start());
  }
  CacheSweep sweep;
  if (options.paths != std::vector<std::string>{"disk"}) {
    CISTERN_ASSIGN_OR_RETURN(MemoryNode node, StartNode(options, tcp.get()));
    for (const TransferShape& shape : options.shapes)
      CISTERN_RETURN_IF_ERROR(RunShape(options, shape, node.peers, sweep, emit));
    if (Wants(options, "lookup"))
      CISTERN_RETURN_IF_ERROR(MeasureLookups(options, node.peers, emit));
    node.peers = {};  // before the node
  }
  return Wants(options, "disk") ? MeasureDisk(options, sweep, emit) : absl::OkStatus();
}

}  // namespace cistern::tools
