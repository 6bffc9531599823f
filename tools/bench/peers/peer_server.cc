#include "tools/bench/peers/peer_server.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::tools {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kStartPatience = absl::Seconds(20);
constexpr int kPortTries = 3;  // somebody may take a free port before the server does
constexpr uint64_t kMiB = 1ull << 20;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

absl::StatusOr<uint16_t> FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  const bool bound = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!bound) return absl::ErrnoToStatus(error, "a free port of 127.0.0.1");
  return ntohs(address.sin_port);
}

bool Accepts(const PeerAddress& at) {
  const bool tcp = at.unix_path.empty();
  const int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const sockaddr_in loopback = Loopback(at.port);
  sockaddr_un path = {};
  path.sun_family = AF_UNIX;
  at.unix_path.copy(path.sun_path, sizeof(path.sun_path) - 1);
  const int connected =
      tcp ? connect(fd, reinterpret_cast<const sockaddr*>(&loopback), sizeof(loopback))
          : connect(fd, reinterpret_cast<const sockaddr*>(&path), sizeof(path));
  close(fd);
  return connected == 0;
}

std::vector<std::string> RedisArguments(const PeerServerOptions& options, const PeerAddress& at) {
  std::vector<std::string> words = {"redis-server",
                                    "--save",
                                    "",
                                    "--appendonly",
                                    "no",
                                    "--daemonize",
                                    "no",
                                    "--dir",
                                    options.directory,
                                    "--bind",
                                    "127.0.0.1",
                                    "--port",
                                    absl::StrCat(at.port)};
  if (!at.unix_path.empty())
    words.insert(words.end(), {"--unixsocket", at.unix_path, "--unixsocketperm", "700"});
  return words;
}

// Items above half a slab page are kept in chunks whatever -I says; -I only has to allow them, and
// must be at most half of -m. Nothing is evicted, and no pages are moved between slab classes while
// values are large and all of them must stay: a value that does not fit is an error of its SET.
std::vector<std::string> MemcachedArguments(const PeerServerOptions& options,
                                            const PeerAddress& at) {
  const uint64_t item_mib = options.max_value_bytes / kMiB + 2;
  const uint64_t memory_mib = std::max(3 * options.total_bytes / kMiB, 2 * item_mib) + 1024;
  std::vector<std::string> words = {"memcached", "-M", "-o", "no_slab_reassign,slab_automove=0"};
  words.insert(words.end(), {"-I", absl::StrCat(item_mib, "m"), "-m", absl::StrCat(memory_mib)});
  if (geteuid() == 0) words.insert(words.end(), {"-u", "root"});  // it refuses root unless told
  if (at.unix_path.empty()) {
    words.insert(words.end(), {"-l", "127.0.0.1", "-U", "0", "-p", absl::StrCat(at.port)});
  } else {
    words.insert(words.end(), {"-s", at.unix_path});
  }
  return words;
}

}  // namespace

const char* PeerName(PeerKind kind) { return kind == PeerKind::kRedis ? "redis" : "memcached"; }

std::vector<std::string> PeerArguments(const PeerServerOptions& options, const PeerAddress& at) {
  return options.kind == PeerKind::kRedis ? RedisArguments(options, at)
                                          : MemcachedArguments(options, at);
}

absl::StatusOr<std::unique_ptr<PeerServer>> PeerServer::Start(const PeerServerOptions& options) {
  const std::string name = PeerName(options.kind);
  absl::Status failed;
  for (int tries = 0; tries < (options.tcp ? kPortTries : 1); ++tries) {
    PeerAddress at;
    if (options.tcp) {
      CISTERN_ASSIGN_OR_RETURN(at.port, FreePort());
    } else {
      at.unix_path = (fs::path(options.directory) / absl::StrCat(name, ".sock")).string();
    }
    ChildProcessOptions child{.name = name, .arguments = PeerArguments(options, at)};
    child.log = (fs::path(options.directory) / absl::StrCat(name, ".log")).string();
    child.remedy = absl::StrCat("install the Debian package ", child.arguments[0]);
    CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> process, ChildProcess::Start(child));
    failed = process->AwaitAnswer([&at] { return Accepts(at); }, kStartPatience);
    if (failed.ok())
      return std::unique_ptr<PeerServer>(new PeerServer(std::move(process), std::move(at)));
  }
  return failed;
}

}  // namespace cistern::tools
