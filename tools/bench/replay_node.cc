#include "tools/bench/replay_node.h"

#include <cstdio>
#include <utility>
#include <vector>

#include <signal.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "transport/link.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

uint64_t Count(const nlohmann::json& status, const char* part, const char* name) {
  const auto found = status.find(part);
  return found == status.end() || !found->is_object() ? 0 : found->value(name, uint64_t{0});
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReplayNode>> ReplayNode::Reach(const ReplayNodeOptions& options) {
  std::unique_ptr<ReplayNode> node(new ReplayNode(options));
  CISTERN_RETURN_IF_ERROR(node->StartAndConnect());
  return node;
}

absl::Status ReplayNode::StartAndConnect() {
  ClientOptions client{.name = "cistern-bench", .want_mapping = !options_.by_copy};
  client.reconnect_backoff = absl::Milliseconds(20);
  client.address = options_.address;
  if (client.address.empty()) {
    CISTERN_ASSIGN_OR_RETURN(scratch_, ScratchDirectory::Make());
  }
  if (options_.embedded) {
    cacheserver::NodeConfig config = cacheserver::EmbeddedConfig();
    config.pool_bytes = options_.pool_bytes;
    config.disk_path = options_.disk ? scratch_->path() + "/disk" : "";
    CISTERN_ASSIGN_OR_RETURN(embedded_, cacheserver::EmbeddedNode::Start(config));
    CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<transport::Link> link, embedded_->Connect());
    CISTERN_ASSIGN_OR_RETURN(client_, Client::Over(std::move(link), client));
    return absl::OkStatus();
  }
  if (client.address.empty()) {
    process_options_ = {.binary = options_.server,
                        .directory = scratch_->path(),
                        .pool_bytes = options_.pool_bytes,
                        .disk = options_.disk};
    std::fprintf(stderr, "starting cistern-server with a pool of %s ...\n",
                 base::FormatBytes(options_.pool_bytes).c_str());
    CISTERN_ASSIGN_OR_RETURN(process_, NodeProcess::Start(process_options_));
    client.address = process_->address();
  }
  CISTERN_ASSIGN_OR_RETURN(client_, Client::Connect(client));
  return absl::OkStatus();
}

void ReplayNode::KillAndRestart(const base::ModelSpec& model) {
  if (process_ == nullptr) return;
  std::fprintf(stderr, "  killing the node (SIGKILL) and starting it again on the same disk\n");
  process_->Stop(SIGKILL);
  absl::StatusOr<std::unique_ptr<NodeProcess>> again = NodeProcess::Start(process_options_);
  if (!again.ok()) {
    process_.reset();
    std::fprintf(stderr, "  %s\n", again.status().ToString().c_str());
    return;
  }
  process_ = *std::move(again);
  const std::vector<base::TokenId> probe = {0, 1};
  const absl::Time give_up = absl::Now() + absl::Seconds(10);
  while (!client_->MakePlan(model, probe, {}).ok() && absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(20));
  }
}

absl::StatusOr<NodeStatus> ReplayNode::Ask() const {
  const std::string address = process_ != nullptr ? process_->address() : options_.address;
  if (embedded_ == nullptr && address.empty())
    return absl::UnavailableError("it did not start again");
  CISTERN_ASSIGN_OR_RETURN(const std::unique_ptr<transport::Link> link,
                           embedded_ != nullptr
                               ? embedded_->Connect()
                               : transport::Connect(address, {.client_name = "cistern-bench"}));
  CISTERN_ASSIGN_OR_RETURN(
      const transport::AdminReply reply,
      transport::CallFor<transport::AdminReply>(*link, transport::AdminRequest{}));
  const auto json = nlohmann::json::parse(reply.json, nullptr, false);
  if (!json.is_object()) return absl::InternalError("its status is not understood");
  NodeStatus status;
  status.used_bytes = Count(json, "memory", "used_bytes");
  status.arena_bytes = Count(json, "memory", "arena_bytes");
  status.no_room = Count(json, "totals", "no_room");
  status.evicted_objects = Count(json, "totals", "evicted_objects");
  status.dropped_objects = Count(json, "totals", "dropped_objects");
  status.write_failures = Count(json, "disk", "write_failures");
  if (process_ != nullptr) status.resident_bytes = process_->ResidentBytes();
  return status;
}

}  // namespace cistern::tools
