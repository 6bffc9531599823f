#include "transport/shm/unix_socket.h"

#include <algorithm>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::transport {
namespace {

constexpr int kBacklog = 128;
constexpr mode_t kMode = 0660;

absl::StatusOr<sockaddr_un> Address(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path) ||
      path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("a unix socket's path has 1 to ",
                                                   sizeof(address.sun_path) - 1, " bytes; '", path,
                                                   "' has ", path.size()));
  }
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<UniqueFd> NewSocket(int flags) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd.valid())
    return absl::ResourceExhaustedError(absl::StrCat("no socket: ", strerror(errno)));
  return fd;
}

// Keeps two servers that start at once from taking each other's socket for a stale one.
absl::StatusOr<UniqueFd> LockDirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
  UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return absl::UnavailableError(absl::StrCat("the directory of the socket ", path, ": ",
                                               strerror(errno), "; create it first"));
  }
  while (flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR)
      return absl::UnavailableError(absl::StrCat("locking ", directory, ": ", strerror(errno)));
  }
  return fd;
}

// Removes the socket that a dead server has left.
absl::Status RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat file = {};
  if (lstat(path.c_str(), &file) != 0) return absl::OkStatus();
  if (!S_ISSOCK(file.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " exists and is not a socket; choose another path"));
  }
  CISTERN_ASSIGN_OR_RETURN(const UniqueFd probe, NewSocket(SOCK_NONBLOCK));
  const int result =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  if (result == 0 || errno == EAGAIN) {
    return absl::AlreadyExistsError(absl::StrCat("a server is listening on ", path, " already"));
  }
  if (errno != ECONNREFUSED) {
    return absl::UnavailableError(absl::StrCat("the socket ", path, " exists: ", strerror(errno)));
  }
  unlink(path.c_str());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BoundSocket> BindUnix(const std::string& path) {
  CISTERN_ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  CISTERN_ASSIGN_OR_RETURN(const UniqueFd lock, LockDirectoryOf(path));
  CISTERN_RETURN_IF_ERROR(RemoveStale(path, address));
  BoundSocket bound;
  CISTERN_ASSIGN_OR_RETURN(bound.socket, NewSocket(SOCK_NONBLOCK));
  // The socket's own mode, less the umask, becomes the file's: it is never wider than it should be.
  // Nobody can connect before listen.
  fchmod(bound.socket.get(), kMode);
  struct stat file = {};
  if (bind(bound.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      chmod(path.c_str(), kMode) != 0 || lstat(path.c_str(), &file) != 0 ||
      listen(bound.socket.get(), kBacklog) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", path, ": ", strerror(errno)));
  }
  bound.device = file.st_dev;
  bound.inode = file.st_ino;
  return bound;
}

void UnbindUnix(const std::string& path, const BoundSocket& bound) {
  struct stat file = {};
  if (lstat(path.c_str(), &file) != 0) return;
  if (file.st_dev == bound.device && file.st_ino == bound.inode) unlink(path.c_str());
}

absl::StatusOr<UniqueFd> ConnectUnixSocket(const std::string& path, absl::Duration timeout) {
  CISTERN_ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  CISTERN_ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(0));
  // A full backlog makes connect wait; the send timeout bounds it. Zero would mean for ever.
  const timeval wait = absl::ToTimeval(std::clamp(timeout, absl::Milliseconds(1), absl::Hours(1)));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError(absl::StrCat("no node answers on unix:", path, ": ",
                                               strerror(errno), "; is cistern-server running?"));
  }
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return fd;
}

std::string PeerName(int socket) {
  ucred peer = {};
  socklen_t bytes = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return "unix";
  return absl::StrCat("unix pid ", peer.pid, " uid ", peer.uid);
}

}  // namespace cistern::transport
