// Nodes inside the process: the one place of this library that knows the server's code.
#include "base/status_macros.h"
#include "cacheserver/embedded.h"
#include "client_lib/c/handles.h"

struct cistern_node {
  std::unique_ptr<cistern::cacheserver::EmbeddedNode> node;
};

using namespace cistern::c;  // NOLINT(google-build-using-namespace)

int32_t cistern_node_start(const char* config, cistern_node** node, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(node, "node"));
    cistern::cacheserver::NodeConfig in = cistern::cacheserver::EmbeddedConfig();
    if (config != nullptr && *config != '\0') {
      CISTERN_RETURN_IF_ERROR(cistern::cacheserver::ApplyConfigText(in, config, "config"));
    }
    CISTERN_ASSIGN_OR_RETURN(auto started, cistern::cacheserver::EmbeddedNode::Start(in));
    *node = new cistern_node{std::move(started)};
    return absl::OkStatus();
  });
}

int32_t cistern_node_connect(cistern_node* node, const cistern_client_options* options,
                             cistern_client** client, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(node, "node"));
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    cistern::ClientOptions in;
    CISTERN_RETURN_IF_ERROR(ReadClientOptions(options, &in));
    cistern::transport::LinkOptions link_options;
    link_options.client_name = in.name;
    link_options.connect_timeout = in.connect_timeout;
    link_options.want_mapping = in.want_mapping;
    CISTERN_ASSIGN_OR_RETURN(auto link, node->node->Connect(link_options));
    CISTERN_ASSIGN_OR_RETURN(auto connected, cistern::Client::Over(std::move(link), in));
    *client = new cistern_client{std::move(connected)};
    return absl::OkStatus();
  });
}

void cistern_node_free(cistern_node* node) { delete node; }
