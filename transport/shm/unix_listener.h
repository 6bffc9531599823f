// The door for workers on this host: a unix socket whose connections are spread over the server's
// lanes.
//
// Errors   InvalidArgument: a path that is too long, or in use by something that is not a socket.
//          AlreadyExists: a living server listens there (the socket of a dead one is replaced).
//          Unavailable: the directory is missing or closed
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "transport/rpc/lane.h"
#include "transport/rpc/server_core.h"

namespace cistern::transport {

// `lanes` outlive the listener. The path is server->options().unix_path; only its owner and group
// may connect (0660).
absl::StatusOr<std::unique_ptr<Listener>> ListenUnix(std::shared_ptr<ServerCore> server,
                                                     const std::vector<Lane*>& lanes);

}  // namespace cistern::transport
