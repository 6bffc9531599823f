#include "tools/bench/transfer/raw_tcp.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status_macros.h"
#include "tools/bench/transfer/cold_memory.h"

namespace cistern::tools {
namespace {

constexpr uint64_t kServedBytes = 128ull << 20;  // several last-level caches

enum class Order : uint64_t { kFetch = 0, kPublish = 1, kStreamHere = 2, kStreamAway = 3 };

struct Message {
  Order order = Order::kFetch;
  uint64_t piece = 0;
  uint64_t count = 1;
};

absl::Status Broken(const char* what) { return absl::ErrnoToStatus(errno, what); }

// All of it; `spin`: without ever sleeping in the call.
absl::Status SendAll(int fd, std::span<const std::byte> bytes, bool spin) {
  while (!bytes.empty()) {
    const ssize_t sent =
        send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | (spin ? MSG_DONTWAIT : 0));
    if (sent > 0) {
      bytes = bytes.subspan(static_cast<size_t>(sent));
    } else if (sent == 0 || (errno != EAGAIN && errno != EINTR)) {
      return Broken("send to the plain TCP peer");
    }
  }
  return absl::OkStatus();
}

absl::Status ReceiveAll(int fd, std::span<std::byte> bytes, bool spin) {
  while (!bytes.empty()) {
    const ssize_t got = recv(fd, bytes.data(), bytes.size(), spin ? MSG_DONTWAIT : 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<size_t>(got));
    } else if (got == 0) {
      return absl::UnavailableError("the plain TCP peer has gone");
    } else if (errno != EAGAIN && errno != EINTR) {
      return Broken("receive from the plain TCP peer");
    }
  }
  return absl::OkStatus();
}

template <typename T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

absl::Status ServeOne(int fd, Ring& ring_of, const Message& message) {
  const bool spin = message.order == Order::kStreamHere || message.order == Order::kStreamAway;
  const bool sends = message.order == Order::kFetch || message.order == Order::kStreamHere;
  for (uint64_t i = 0; i < message.count; ++i) {
    const std::span<std::byte> piece = ring_of.Next().first(message.piece);
    CISTERN_RETURN_IF_ERROR(sends ? SendAll(fd, piece, spin) : ReceiveAll(fd, piece, spin));
  }
  return sends ? absl::OkStatus() : SendAll(fd, BytesOf(message.count), spin);
}

// The child's whole life.
[[noreturn]] void Serve(int listener, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  const int fd = accept(listener, nullptr, nullptr);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  std::unique_ptr<Ring> ring;
  uint64_t piece = 0;
  Message message;
  while (ReceiveAll(fd, std::as_writable_bytes(std::span(&message, 1)), false).ok()) {
    if (ring == nullptr || piece != message.piece) {
      ring.reset();
      ring = std::make_unique<Ring>(std::max(kServedBytes, 2 * message.piece), message.piece);
      piece = message.piece;
    }
    if (!ServeOne(fd, *ring, message).ok()) break;
  }
  _exit(0);
}

absl::StatusOr<int> ConnectTo(const sockaddr_in& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Broken("socket");
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const absl::Status failed = Broken("connect");
    close(fd);
    return failed;
  }
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RawTcp>> RawTcp::Start() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    const absl::Status failed = Broken("a plain TCP listener on 127.0.0.1");
    if (listener >= 0) close(listener);
    return failed;
  }
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) Serve(listener, parent);
  absl::StatusOr<int> fd = child < 0 ? Broken("fork") : ConnectTo(address);
  close(listener);
  if (fd.ok()) return std::unique_ptr<RawTcp>(new RawTcp(*fd, child));
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  return fd.status();
}

RawTcp::~RawTcp() {
  close(fd_);
  waitpid(child_, nullptr, 0);
}

absl::Status RawTcp::Fetch(std::span<std::byte> into) {
  const Message message{.order = Order::kFetch, .piece = into.size()};
  CISTERN_RETURN_IF_ERROR(SendAll(fd_, BytesOf(message), false));
  return ReceiveAll(fd_, into, false);
}

absl::Status RawTcp::Publish(std::span<const std::byte> from) {
  const Message message{.order = Order::kPublish, .piece = from.size()};
  CISTERN_RETURN_IF_ERROR(SendAll(fd_, BytesOf(message), false));
  CISTERN_RETURN_IF_ERROR(SendAll(fd_, from, false));
  uint64_t word = 0;
  return ReceiveAll(fd_, std::as_writable_bytes(std::span(&word, 1)), false);
}

absl::Status RawTcp::StreamHere(uint32_t count, uint64_t piece,
                                const std::function<std::span<std::byte>()>& next) {
  const Message message{.order = Order::kStreamHere, .piece = piece, .count = count};
  CISTERN_RETURN_IF_ERROR(SendAll(fd_, BytesOf(message), true));
  for (uint32_t i = 0; i < count; ++i) {
    CISTERN_RETURN_IF_ERROR(ReceiveAll(fd_, next().first(piece), true));
  }
  return absl::OkStatus();
}

absl::Status RawTcp::StreamAway(uint32_t count, uint64_t piece,
                                const std::function<std::span<std::byte>()>& next) {
  const Message message{.order = Order::kStreamAway, .piece = piece, .count = count};
  CISTERN_RETURN_IF_ERROR(SendAll(fd_, BytesOf(message), true));
  for (uint32_t i = 0; i < count; ++i) {
    CISTERN_RETURN_IF_ERROR(SendAll(fd_, next().first(piece), true));
  }
  uint64_t word = 0;
  return ReceiveAll(fd_, std::as_writable_bytes(std::span(&word, 1)), true);
}

}  // namespace cistern::tools
