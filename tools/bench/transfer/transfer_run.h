// `cistern-bench transfer`: every path between a worker (this process) and a node (another one),
// beside its limit.
//
// Errors  InvalidArgument, NotFound, FailedPrecondition: the run could not be made. DataLoss: a
// byte was not what it should be. Others: a call to the node failed
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "cistern/client.h"
#include "tools/bench/transfer/cold_memory.h"
#include "tools/bench/transfer/paged_objects.h"
#include "tools/bench/transfer/raw_tcp.h"
#include "tools/bench/transfer/transfer_calls.h"
#include "tools/bench/transfer/transfer_report.h"
#include "tools/bench/transfer/transfer_shape.h"
#include "transport/link.h"

namespace cistern::tools {

struct TransferOptions {
  std::vector<std::string> paths;  // of AllTransferPaths
  std::vector<TransferShape> shapes;
  uint32_t rounds = 5;
  uint32_t workers = 8;      // of the path "workers"
  std::string server;        // empty: NodeProcess finds it
  bool flip_a_byte = false;  // of what has come, before it is checked: the check must see it
};

using EmitLine = std::function<void(const TransferLine& line)>;

// Starts the nodes that `options.paths` need, each with a scratch directory of its own. `emit` gets
// each line when it is there.
absl::Status RunTransfers(const TransferOptions& options, const EmitLine& emit);

inline constexpr uint32_t kMaxTransferWorkers = 64;
// Sequences that each of so many workers goes round: 128 MiB of all of them, at most 64.
uint32_t SequencesOfAWorker(uint64_t bytes, uint32_t workers);

// ---- Its parts

// The connections of one run.
struct TransferPeers {
  std::string address;                   // of the unix socket
  std::unique_ptr<Client> local;         // over the unix socket, with the memory mapped
  std::unique_ptr<Client> remote;        // over UCX; null: not needed
  std::unique_ptr<transport::Link> raw;  // beside `local`: for reading in place and lookups
  std::unique_ptr<transport::Link> raw_remote;
  RawTcp* tcp = nullptr;
};

absl::Status MeasureInPlace(const TransferOptions& options, const TransferShape& shape,
                            PagedObjects& stored, TransferPeers& peers, CacheSweep& sweep,
                            const EmitLine& emit);
// Over TCP, or within the host.
absl::Status MeasureFetch(const TransferOptions& options, const TransferShape& shape,
                          const PagedObjects& stored, TransferPeers& peers, bool tcp,
                          CacheSweep& sweep, const EmitLine& emit);
absl::Status MeasurePublish(const TransferOptions& options, const TransferShape& shape,
                            TransferPeers& peers, bool tcp, CacheSweep& sweep,
                            const EmitLine& emit);
// Several workers fetch at once, each with a connection of its own, from memory that is mapped.
absl::Status MeasureWorkers(const TransferOptions& options, const TransferShape& shape,
                            TransferPeers& peers, CacheSweep& sweep, const EmitLine& emit);
absl::Status MeasureLookups(const TransferOptions& options, TransferPeers& peers,
                            const EmitLine& emit);
absl::Status MeasureDisk(const TransferOptions& options, CacheSweep& sweep, const EmitLine& emit);

}  // namespace cistern::tools
