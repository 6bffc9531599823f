#include "transport/ucx/ucx_door.h"

#include <algorithm>
#include <utility>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"

namespace cistern::transport {
namespace {

constexpr int kDoorBacklog = 256;

absl::Status ErrnoStatus(absl::string_view what) {
  const std::string message = absl::StrCat(what, ": ", strerror(errno));
  switch (errno) {
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          absl::StrCat(message, "; stop the process that listens there, or choose another port"));
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

void Set(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof(value));
}

// The network's end of the other host's death, when it can say nothing itself.
void KeepAlive(int fd) {
  Set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  Set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  Set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 2);
  Set(fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
}

absl::Status WaitFor(int fd, short events, absl::Time deadline) {
  while (true) {
    pollfd wait = {.fd = fd, .events = events, .revents = 0};
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    const int ready = poll(
        &wait, 1, static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 60'000)));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return ErrnoStatus("poll");
    if (left == absl::ZeroDuration()) return absl::UnavailableError("nobody answers in time");
  }
}

absl::Status ConnectTo(int fd, const SocketAddress& address, absl::Time deadline) {
  if (connect(fd, address.get(), address.bytes) == 0) return absl::OkStatus();
  if (errno != EINPROGRESS) return ErrnoStatus("connect");
  CISTERN_RETURN_IF_ERROR(WaitFor(fd, POLLOUT, deadline));
  socklen_t size = sizeof(errno);
  int error = 0;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  errno = error;
  return error == 0 ? absl::OkStatus() : ErrnoStatus("connect");
}

absl::Status ReadAnswer(int fd, Answer* answer, absl::Time deadline) {
  size_t have = 0;
  while (have < sizeof(*answer)) {
    CISTERN_RETURN_IF_ERROR(WaitFor(fd, POLLIN, deadline));
    const ssize_t got = recv(fd, reinterpret_cast<char*>(answer) + have, sizeof(*answer) - have, 0);
    if (got == 0) {
      return absl::UnavailableError("what listens there hung up; it is no node, or it is full");
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR) return ErrnoStatus("recv");
    if (got > 0) have += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace

Knock MakeKnock() {
  Knock knock = {.magic = {}, .version = kDoorVersion, .reserved = 0};
  memcpy(knock.magic, kDoorMagic, sizeof(kDoorMagic));
  return knock;
}

bool IsKnock(const Knock& knock) {
  return memcmp(knock.magic, kDoorMagic, sizeof(kDoorMagic)) == 0;
}

Answer MakeAnswer(uint32_t port) {
  Answer answer = {.magic = {}, .version = kDoorVersion, .port = port};
  memcpy(answer.magic, kDoorMagic, sizeof(kDoorMagic));
  return answer;
}

Answer AnswerFor(const absl::StatusOr<uint16_t>& port) {
  if (port.ok()) return MakeAnswer(*port);
  if (absl::IsResourceExhausted(port.status())) return MakeAnswer(0);
  return MakeAnswer(kCannotListen + static_cast<uint32_t>(port.status().code()));
}

absl::StatusOr<UniqueFd> OpenDoor(const SocketAddress& address) {
  const std::string what = absl::StrCat("listening at ", FormatSocketAddress(address.storage));
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return ErrnoStatus(what);
  // A node that was killed comes back on its port while old connections still linger.
  Set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.storage.ss_family == AF_INET6) Set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (bind(fd.get(), address.get(), address.bytes) != 0) return ErrnoStatus(what);
  if (listen(fd.get(), kDoorBacklog) != 0) return ErrnoStatus(what);
  return fd;
}

absl::StatusOr<Admission> KnockAt(const SocketAddress& address, absl::Time deadline) {
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return ErrnoStatus("a socket");
  CISTERN_RETURN_IF_ERROR(ConnectTo(fd.get(), address, deadline));
  const Knock knock = MakeKnock();
  if (send(fd.get(), &knock, sizeof(knock), MSG_NOSIGNAL) != sizeof(knock)) {
    return ErrnoStatus("send");
  }
  Answer answer = {};
  CISTERN_RETURN_IF_ERROR(ReadAnswer(fd.get(), &answer, deadline));
  if (memcmp(answer.magic, kDoorMagic, sizeof(kDoorMagic)) != 0) {
    return absl::FailedPreconditionError("what listens there is not a node");
  }
  if (answer.version != kDoorVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the node speaks version ", answer.version, " of the UCX frames, this side ",
                     kDoorVersion, "; use the same release on both"));
  }
  if (answer.port > 65535) {
    return absl::UnavailableError(absl::StrCat(
        "the node cannot open a UCX listener on this address: ",
        absl::StatusCodeToString(static_cast<absl::StatusCode>(answer.port - kCannotListen))));
  }
  if (answer.port == 0) {
    return absl::ResourceExhaustedError("the node lets no more workers in");
  }
  Admission admission;
  admission.address = address;
  SetPort(admission.address, static_cast<uint16_t>(answer.port));
  admission.tether = std::move(fd);
  return admission;
}

Tether::Tether(Lane* lane, UniqueFd fd, absl::AnyInvocable<void()> gone)
    : lane_(lane), fd_(std::move(fd)), gone_(std::move(gone)) {
  KeepAlive(fd_.get());
  absl::StatusOr<Lane::FdToken> watched =
      lane_->AddFd(fd_.get(), EPOLLIN | EPOLLRDHUP, [this](uint32_t) { OnEvent(); });
  if (watched.ok()) watched_ = *watched;  // without it, UCX's own word has to do
}

Tether::~Tether() {
  if (!lane_->OnLaneThread()) return;  // the lane has ended and forgotten everything
  if (watched_.id != 0) lane_->RemoveFd(watched_);
  if (timer_ != 0) lane_->CancelTimer(timer_);
}

// Nothing is ever said over a tether: an end of it, or bytes, mean the same.
void Tether::OnEvent() {
  lane_->RemoveFd(std::exchange(watched_, {}));
  timer_ = lane_->AddTimer(After(MonoNow(), kGrace), [this] {
    timer_ = 0;
    absl::AnyInvocable<void()> gone = std::move(gone_);
    gone();  // may destroy this
  });
}

}  // namespace cistern::transport
