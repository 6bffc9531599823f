// A node inside this process, for one machine, tests and notebooks: the same client API, no server.
//
//   NodeConfig config = EmbeddedConfig();
//   auto node = EmbeddedNode::Start(config);
//   auto client = Client::Over(*(*node)->Connect(), options);
//
// Thread   Connect: any. Links may outlive the node: they are dead then
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "cacheserver/config.h"
#include "cacheserver/log.h"
#include "cacheserver/node.h"
#include "transport/link.h"

namespace cistern::cacheserver {

class EmbeddedNode {
 public:
  // `config`: EmbeddedConfig, changed as needed; unix_socket and ucx_address are not used.
  // Errors as Node::Start's.
  static absl::StatusOr<std::unique_ptr<EmbeddedNode>> Start(const NodeConfig& config);

  absl::StatusOr<std::unique_ptr<transport::Link>> Connect(
      const transport::LinkOptions& options = {});

  void Stop();  // the destructor does it, too

 private:
  explicit EmbeddedNode(const NodeConfig& config) : log_(config.log_level, config.log_format) {}

  Log log_;
  std::unique_ptr<Node> node_;
};

// A configuration for EmbeddedNode: quiet, memory that comes as it is used.
NodeConfig EmbeddedConfig();

}  // namespace cistern::cacheserver
