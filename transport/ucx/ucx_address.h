// "host:port" to socket addresses and back. "[::1]:4711" is IPv6; a name may have several
// addresses.
//
// Thread   any; a name that is not a number is looked up, which may take as long as the resolver
// Errors   InvalidArgument for what is not host:port, and for addresses where UCX cannot work
// (IPv6's
//          loopback and link-local ones); Unavailable for a name that nobody knows
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/socket.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::transport {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t bytes = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// In the resolver's order of preference; at least one. `passive`: to listen on (an empty host or
// "*" is any).
absl::StatusOr<std::vector<SocketAddress>> ResolveHostPort(absl::string_view host_port,
                                                           bool passive);

// UCX passes over ::1 and fe80:: when it looks at a machine's addresses, and then reads outside of
// its memory when a connection comes by one (1.13).
bool UcxCanUse(const sockaddr_storage& storage);

uint16_t GetPort(const sockaddr_storage& storage);
void SetPort(SocketAddress& address, uint16_t port);

// "10.0.0.2:4711", "[::1]:4711"
std::string FormatSocketAddress(const sockaddr_storage& storage);

}  // namespace cistern::transport
