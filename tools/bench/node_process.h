// A cistern-server of the bench's own: started for one run in a scratch directory, stopped at its
// end. It does not outlive the thread that started it, however that ends.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cistern::tools {

struct NodeProcessOptions {
  std::string binary;     // empty: cistern-server beside this program, else on PATH
  std::string directory;  // scratch: socket, log, disk tier. Must exist
  uint64_t pool_bytes = 0;
  bool disk = true;
  absl::Duration start_timeout = absl::Seconds(60);
  std::vector<std::string> more_flags = {};  // of cistern-server, after those above
};

class NodeProcess {
 public:
  // Returns when the node answers. FailedPrecondition, with the end of the node's log, when it
  // stops before that.
  static absl::StatusOr<std::unique_ptr<NodeProcess>> Start(const NodeProcessOptions& options);
  ~NodeProcess();  // SIGTERM, and SIGKILL when it has not gone within ten seconds

  std::string address() const { return "unix:" + socket_; }
  pid_t pid() const { return pid_; }
  uint64_t ResidentBytes() const;  // its memory now, of which the pool is a part
  void Stop(int signal);           // and waits for the end

 private:
  NodeProcess(pid_t pid, std::string socket) : pid_(pid), socket_(std::move(socket)) {}

  pid_t pid_;
  std::string socket_;
};

}  // namespace cistern::tools
