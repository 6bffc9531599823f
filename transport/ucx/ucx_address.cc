#include "transport/ucx/ucx_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace cistern::transport {
namespace {

absl::Status Malformed(absl::string_view host_port) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", host_port, "\" is not host:port, like 10.0.0.2:4711 or [::1]:4711"));
}

}  // namespace

absl::StatusOr<std::vector<SocketAddress>> ResolveHostPort(absl::string_view host_port,
                                                           bool passive) {
  const size_t colon = host_port.rfind(':');
  if (colon == absl::string_view::npos) return Malformed(host_port);
  absl::string_view host = host_port.substr(0, colon);
  const absl::string_view port_text = host_port.substr(colon + 1);
  uint32_t port = 0;
  if (!absl::SimpleAtoi(port_text, &port) || port > 65535) return Malformed(host_port);
  if (port == 0 && !passive) return Malformed(host_port);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return Malformed(host_port);
  } else if (host.find(':') != absl::string_view::npos) {
    return Malformed(host_port);
  }
  if (host == "*") host = "";
  if (host.empty() && !passive) return Malformed(host_port);

  addrinfo hints = {};
  hints.ai_family = host.empty() ? AF_INET : AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const std::string node(host);
  const int error = getaddrinfo(node.empty() ? nullptr : node.c_str(), absl::StrCat(port).c_str(),
                                &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("the host \"", host, "\" is not known: ", gai_strerror(error)));
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    SocketAddress address;
    memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.bytes = entry->ai_addrlen;
    if (UcxCanUse(address.storage)) addresses.push_back(address);
  }
  freeaddrinfo(found);
  if (!addresses.empty()) return addresses;
  return absl::InvalidArgumentError(
      absl::StrCat("UCX cannot use ", host_port, ", an IPv6 address of this machine or link only; ",
                   "write 127.0.0.1, or an address that others can reach"));
}

bool UcxCanUse(const sockaddr_storage& storage) {
  if (storage.ss_family != AF_INET6) return true;
  const in6_addr& address = reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr;
  return !IN6_IS_ADDR_LOOPBACK(&address) && !IN6_IS_ADDR_LINKLOCAL(&address);
}

uint16_t GetPort(const sockaddr_storage& storage) {
  return ntohs(storage.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(storage).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

void SetPort(SocketAddress& address, uint16_t port) {
  if (address.storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = htons(port);
  }
}

std::string FormatSocketAddress(const sockaddr_storage& storage) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  const socklen_t bytes =
      storage.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&storage), bytes, host, sizeof(host), port,
                  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  if (storage.ss_family == AF_INET6) return absl::StrCat("[", host, "]:", port);
  return absl::StrCat(host, ":", port);
}

}  // namespace cistern::transport
