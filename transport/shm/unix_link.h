// A link over a unix socket to the node on this host: the arena mapped, payloads in shared buffers,
// one thread.
//
// Errors   of ConnectUnix: as Connect (link.h)
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "transport/link.h"

namespace cistern::transport {

absl::StatusOr<std::unique_ptr<Link>> ConnectUnix(const std::string& path,
                                                  const LinkOptions& options);

}  // namespace cistern::transport
