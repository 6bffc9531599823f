// A cache node: memory, store, disk tier, the threads around them, and the door.
//
//   Start ─► (serves) ─► Stop
//
// Start   disk tier, memory, store; models; threads; last the sockets. The index of what is on disk
//         is loaded beside all that, and beside serving if it takes long (load_disk.h). The first
//         thing that fails is the error, and nothing is left behind
// Stop    no new calls; those in progress end (drain_timeout); sessions close; what lies in memory
//         only is written to disk if the configuration says so (flush_timeout)
//
// Thread   Start, Stop: one. The rest: any
// Errors   InvalidArgument: the configuration. AlreadyExists: another server has the socket or
//          port. FailedPrecondition: another process has the disk directory. ResourceExhausted: not
//          the memory that was asked for. Each says what to do
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/clock.h"
#include "cacheserver/config.h"
#include "cacheserver/log.h"
#include "transport/link.h"

namespace cistern::cacheserver {

// By which door workers come in.
enum class Door : uint8_t {
  kSockets = 0,    // unix_socket and ucx_address
  kInProcess = 1,  // Connect; the addresses of the configuration are not used
};

class Node {
 public:
  // `log` and `clock` outlive the node.
  static absl::StatusOr<std::unique_ptr<Node>> Start(const NodeConfig& config, Log* log,
                                                     const base::Clock* clock,
                                                     Door door = Door::kSockets);
  ~Node();  // Stop
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void Stop();

  // As bound; "" = none.
  std::string unix_socket() const;
  std::string ucx_address() const;

  // A link within the process. FailedPrecondition when the door is another one.
  absl::StatusOr<std::unique_ptr<transport::Link>> Connect(const transport::LinkOptions& options);

 private:
  struct Impl;
  explicit Node(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cistern::cacheserver
