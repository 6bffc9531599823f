// Unix socket addresses: binding one that may be stale, connecting to one.
//
// Thread   any
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "transport/shm/unique_fd.h"

namespace cistern::transport {

// A listening socket, and which file it is, so that it can be removed without harm to a
// successor's.
struct BoundSocket {
  UniqueFd socket;  // non-blocking
  uint64_t device = 0;
  uint64_t inode = 0;
};

// Errors as in unix_listener.h.
absl::StatusOr<BoundSocket> BindUnix(const std::string& path);

// Removes the file if it still is the one that was bound.
void UnbindUnix(const std::string& path, const BoundSocket& bound);

// A connected, non-blocking socket. InvalidArgument: a path that is too long. Unavailable: nobody
// listens there, or nobody accepts within `timeout`.
absl::StatusOr<UniqueFd> ConnectUnixSocket(const std::string& path, absl::Duration timeout);

// "unix pid 123 uid 0"
std::string PeerName(int socket);

}  // namespace cistern::transport
