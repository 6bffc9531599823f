// A node within the worker's own process: the same sessions, messages and bounds, without a socket.
//
// For the embedded mode, notebooks and tests. Messages are encoded and decoded as everywhere, so
// nothing works here that would not work between processes; the arena is
// mapped once more, read-only, for all links together: it stays readable until the last one goes.
//
// Thread   Connect: any. Calls are served on the server's lanes; each link completes on a thread
//          of its own. Links may outlive the server: they are dead then
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "transport/link.h"
#include "transport/service.h"

namespace cistern::transport {

class InProcessServer : public Server {
 public:
  // Errors as transport::Connect's. connect_timeout is not needed.
  virtual absl::StatusOr<std::unique_ptr<Link>> Connect(const LinkOptions& options) = 0;
};

// Uses of `options`: lanes, the bounds, node_name, incarnation, arena_fd, arena_bytes,
// allow_mapping. `service` outlives it. FailedPrecondition when the arena cannot be mapped.
absl::StatusOr<std::unique_ptr<InProcessServer>> StartInProcess(const ServerOptions& options,
                                                                Service* service);

}  // namespace cistern::transport
