#include "cacheserver/embedded.h"

#include "base/status_macros.h"

namespace cistern::cacheserver {

NodeConfig EmbeddedConfig() {
  NodeConfig config;
  config.name = "embedded";
  config.unix_socket.clear();
  config.pre_touch = false;
  config.lanes = 1;
  config.log_level = "off";
  return config;
}

absl::StatusOr<std::unique_ptr<EmbeddedNode>> EmbeddedNode::Start(const NodeConfig& config) {
  std::unique_ptr<EmbeddedNode> embedded(new EmbeddedNode(config));
  CISTERN_ASSIGN_OR_RETURN(
      embedded->node_, Node::Start(config, &embedded->log_, base::Clock::Real(), Door::kInProcess));
  return embedded;
}

absl::StatusOr<std::unique_ptr<transport::Link>> EmbeddedNode::Connect(
    const transport::LinkOptions& options) {
  return node_->Connect(options);
}

void EmbeddedNode::Stop() { node_->Stop(); }

}  // namespace cistern::cacheserver
