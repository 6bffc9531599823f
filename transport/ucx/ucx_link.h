// A worker's end of a connection to a node on another host.
//
// The link's lane owns everything: the UCX worker, the connection, the calls whose payloads move.
// A call is complete only when UCX has let go of its buffers. UCX can take back no single transfer:
// one that still moves (or that the node has not fetched) when its deadline passes gets
// ClientCore::kOverdueGrace more; then the link closes, that call ends with DeadlineExceeded and
// the others with Unavailable. Calls without a payload, and calls whose reply has not begun to
// come, expire on time and cost the link nothing.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "transport/link.h"

namespace cistern::transport {

// Errors   InvalidArgument: not host:port. Unavailable: nobody answers within connect_timeout.
//          FailedPrecondition: another version, or UCX finds no device here. ResourceExhausted: the
//          node has as many sessions as it allows, or this process no descriptors
absl::StatusOr<std::unique_ptr<Link>> ConnectUcx(absl::string_view host_port,
                                                 const LinkOptions& options);

}  // namespace cistern::transport
