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

#include "tools/bench/child_process.h"

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

  std::string address() const { return "unix:" + socket_; }
  pid_t pid() const { return process_->pid(); }
  // Its memory now, of which the pool is a part.
  uint64_t ResidentBytes() const { return process_->ResidentBytes(); }
  void Stop(int signal) { process_->Stop(signal); }  // and waits for the end

 private:
  NodeProcess(std::unique_ptr<ChildProcess> process, std::string socket)
      : process_(std::move(process)), socket_(std::move(socket)) {}

  std::unique_ptr<ChildProcess> process_;
  std::string socket_;
};

}  // namespace cistern::tools
