// The way in for workers on other hosts: a door (ucx_door.h) whose sessions are spread over the
// server's lanes, one UCX worker per lane.
//
// Errors   InvalidArgument: not host:port. AlreadyExists: the port is in use.
//          Unavailable: the host is not one of this machine's. FailedPrecondition: UCX finds no
//          device here
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "transport/rpc/lane.h"
#include "transport/rpc/server_core.h"

namespace cistern::transport {

// `lanes` outlive the listener. The address is server->options().ucx_address; port 0: any.
absl::StatusOr<std::unique_ptr<Listener>> ListenUcx(std::shared_ptr<ServerCore> server,
                                                    const std::vector<Lane*>& lanes);

}  // namespace cistern::transport
