// A Redis or memcached of the bench's own: one process that keeps nothing, on a loopback port that
// is free or on a unix socket.
//
// Thread   as ChildProcess
// Errors   NotFound: the program is not there (the message names its Debian package);
// FailedPrecondition: it stopped at once; DeadlineExceeded: it does not answer
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "tools/bench/child_process.h"

namespace cistern::tools {

enum class PeerKind { kRedis, kMemcached };
const char* PeerName(PeerKind kind);  // "redis"

struct PeerServerOptions {
  PeerKind kind = PeerKind::kRedis;
  bool tcp = false;       // else a unix socket
  std::string directory;  // scratch: socket, log. Must exist
  uint64_t max_value_bytes = 0;
  uint64_t total_bytes = 0;  // of all values at once
};

struct PeerAddress {
  std::string unix_path;  // empty: 127.0.0.1
  uint16_t port = 0;
};

class PeerServer {
 public:
  static absl::StatusOr<std::unique_ptr<PeerServer>> Start(const PeerServerOptions& options);

  const PeerAddress& address() const { return address_; }
  pid_t pid() const { return process_->pid(); }
  void Stop(int signal) { process_->Stop(signal); }

 private:
  PeerServer(std::unique_ptr<ChildProcess> process, PeerAddress address)
      : process_(std::move(process)), address_(std::move(address)) {}

  std::unique_ptr<ChildProcess> process_;
  PeerAddress address_;
};

// How it is started: the program and its flags.
std::vector<std::string> PeerArguments(const PeerServerOptions& options, const PeerAddress& at);

}  // namespace cistern::tools
