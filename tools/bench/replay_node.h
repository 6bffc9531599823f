// The node that a replay talks to, whichever way: started here, inside this process, or running
// already.
//
// Thread   the caller's
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/model_spec.h"
#include "cacheserver/embedded.h"
#include "cistern/client.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/node_process.h"

namespace cistern::tools {

struct ReplayNodeOptions {
  uint64_t pool_bytes = 0;
  bool disk = true;
  bool by_copy = false;  // do not map the node's memory
  bool embedded = false;
  std::string address;  // of a running node; empty: start one, with `server` or what lies beside us
  std::string server;
};

// What a node says of itself, since it started.
struct NodeStatus {
  uint64_t used_bytes = 0, arena_bytes = 0, resident_bytes = 0;
  uint64_t no_room = 0, evicted_objects = 0, dropped_objects = 0, write_failures = 0;
};

class ReplayNode {
 public:
  // Errors as Client::Connect's and NodeProcess::Start's.
  static absl::StatusOr<std::unique_ptr<ReplayNode>> Reach(const ReplayNodeOptions& options);

  Client& client() { return *client_; }

  // Kills a node that was started here and starts it again on the same disk; returns when the
  // client has found it, so that a run shows what a restarted node still has and not how long a
  // client waits before it tries again. Nothing for other nodes.
  void KillAndRestart(const base::ModelSpec& model);

  // Unavailable: it did not start again; or what the node answers.
  absl::StatusOr<NodeStatus> Ask() const;

 private:
  explicit ReplayNode(const ReplayNodeOptions& options) : options_(options) {}
  absl::Status StartAndConnect();

  const ReplayNodeOptions options_;
  std::unique_ptr<ScratchDirectory> scratch_;
  NodeProcessOptions process_options_;
  std::unique_ptr<NodeProcess> process_;
  std::unique_ptr<cacheserver::EmbeddedNode> embedded_;
  std::unique_ptr<Client> client_;
};

}  // namespace cistern::tools
