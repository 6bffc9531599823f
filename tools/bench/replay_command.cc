#include "tools/bench/replay_command.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include <signal.h>
#include <unistd.h>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/model_presets.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "cacheserver/embedded.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/node_process.h"
#include "tools/bench/replay.h"
#include "tools/bench/repo_workload.h"
#include "transport/link.h"
#include <nlohmann/json.hpp>

ABSL_FLAG(std::string, trace, "", "replay: a .jsonl trace with pieces.jsonl beside it");
ABSL_FLAG(std::string, workload, "",
          "replay: 'repo' makes an agent session over the files under --root");
ABSL_FLAG(std::string, root, "",
          "replay: the source tree of --workload repo; empty = the one that this program was built "
          "from");
ABSL_FLAG(std::string, model, "deepseek-v2-lite", "replay: a model preset");
ABSL_FLAG(uint32_t, layers, 0,
          "replay: only the model's first N layers, so that a whole trace fits in memory; 0 = all");
ABSL_FLAG(std::string, policy, "content", "replay: 'exact' (lossless only) or 'content'");
ABSL_FLAG(uint32_t, recompute_head, 0,
          "replay: tokens at the head of each content span that are computed afresh");
ABSL_FLAG(bool, flat, false, "replay: hide the structural parts of prompts from the chunker");
ABSL_FLAG(bool, rotated, false,
          "replay: publish rotary keys after RoPE; moved rows are checked within the stated bound");
ABSL_FLAG(uint32_t, calls, 0, "replay: only the first N calls; 0 = all");
ABSL_FLAG(std::string, pool, "",
          "replay: memory of the node that is started, e.g. 768MiB; empty = the whole working set");
ABSL_FLAG(bool, disk, true, "replay: give the node that is started a disk tier");
ABSL_FLAG(bool, by_copy, false,
          "replay: do not map the node's memory; bytes come over the connection");
ABSL_FLAG(uint32_t, kill_after, 0,
          "replay: kill the node (SIGKILL) after N calls and start it again; 0 = never");
ABSL_FLAG(bool, embedded, false, "replay: a node inside this process");
ABSL_FLAG(std::string, address, "",
          "replay: a running node, unix:PATH or host:port; empty = start one");
ABSL_FLAG(std::string, server, "",
          "replay: the cistern-server program to start; empty = the one beside this program");
ABSL_FLAG(bool, json, false, "print the report as one JSON object");

namespace cistern::tools {
namespace {

// The node that a run talks to, whichever way: started here, inside this process, or running
// already.
struct Node {
  std::unique_ptr<ScratchDirectory> scratch;
  NodeProcessOptions process_options;
  std::unique_ptr<NodeProcess> process;
  std::unique_ptr<cacheserver::EmbeddedNode> embedded;
  std::unique_ptr<Client> client;
};

absl::StatusOr<Trace> ChosenTrace() {
  const std::string path = absl::GetFlag(FLAGS_trace), workload = absl::GetFlag(FLAGS_workload);
  if (path.empty() && workload.empty())
    return absl::InvalidArgumentError("say what to replay: --trace FILE or --workload repo");
  if (!path.empty() && !workload.empty())
    return absl::InvalidArgumentError("--trace and --workload: give one of them");
  if (!path.empty()) return LoadTrace(path);
  if (workload != "repo")
    return absl::InvalidArgumentError(
        absl::StrCat("unknown --workload '", workload, "'; there is: repo"));
  RepoWorkloadOptions options{.root = absl::GetFlag(FLAGS_root)};
  if (options.root.empty()) options.root = CISTERN_SOURCE_DIR;
  if (absl::GetFlag(FLAGS_calls) != 0) options.calls = absl::GetFlag(FLAGS_calls);
  return MakeRepoWorkload(options);
}

absl::StatusOr<ReplayOptions> ChosenOptions() {
  ReplayOptions options;
  CISTERN_ASSIGN_OR_RETURN(options.model, base::ModelPreset(absl::GetFlag(FLAGS_model)));
  if (const uint32_t layers = absl::GetFlag(FLAGS_layers); layers != 0) {
    if (layers > options.model.num_layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("--layers ", layers, ": the model has ", options.model.num_layers));
    }
    options.model = base::WithLayers(options.model, layers);
  }
  const std::string policy = absl::GetFlag(FLAGS_policy);
  if (policy != "exact" && policy != "content") {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown --policy '", policy, "'; there are: exact, content"));
  }
  options.policy.reuse = policy == "exact" ? Reuse::kExact : Reuse::kContent;
  options.policy.recompute_head = absl::GetFlag(FLAGS_recompute_head);
  options.policy.deadline = absl::Seconds(5);
  options.flat = absl::GetFlag(FLAGS_flat);
  options.rotated = absl::GetFlag(FLAGS_rotated);
  options.calls = absl::GetFlag(FLAGS_calls);
  return options;
}

// Twice the working set: pages of 16 tokens are part full at the end of every chunk.
absl::StatusOr<uint64_t> PoolBytes(const Trace& trace, const ReplayOptions& options) {
  if (!absl::GetFlag(FLAGS_pool).empty()) return base::ParseBytes(absl::GetFlag(FLAGS_pool));
  const uint64_t physical =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t wanted = 2 * WorkingSetBytes(trace, options.calls, options.model) + (64ull << 20);
  return std::min(wanted, physical / 3);
}

absl::Status CheckNodeFlags() {
  const bool running = !absl::GetFlag(FLAGS_address).empty(),
             embedded = absl::GetFlag(FLAGS_embedded);
  if (running && embedded) {
    return absl::InvalidArgumentError("choose one: --embedded or --address");
  }
  if (absl::GetFlag(FLAGS_kill_after) != 0 && (running || embedded)) {
    return absl::InvalidArgumentError(
        "--kill_after kills the node that the bench starts itself: leave out --address and "
        "--embedded");
  }
  return absl::OkStatus();
}

absl::StatusOr<Node> ReachNode(const Trace& trace, const ReplayOptions& options) {
  CISTERN_RETURN_IF_ERROR(CheckNodeFlags());
  Node node;
  CISTERN_ASSIGN_OR_RETURN(const uint64_t pool, PoolBytes(trace, options));
  ClientOptions client{.name = "cistern-bench", .want_mapping = !absl::GetFlag(FLAGS_by_copy)};
  client.reconnect_backoff = absl::Milliseconds(20);
  client.address = absl::GetFlag(FLAGS_address);
  if (client.address.empty()) {
    CISTERN_ASSIGN_OR_RETURN(node.scratch, ScratchDirectory::Make());
  }
  if (absl::GetFlag(FLAGS_embedded)) {
    cacheserver::NodeConfig config = cacheserver::EmbeddedConfig();
    config.pool_bytes = pool;
    config.disk_path = absl::GetFlag(FLAGS_disk) ? node.scratch->path() + "/disk" : "";
    CISTERN_ASSIGN_OR_RETURN(node.embedded, cacheserver::EmbeddedNode::Start(config));
    CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<transport::Link> link, node.embedded->Connect());
    CISTERN_ASSIGN_OR_RETURN(node.client, Client::Over(std::move(link), client));
    return node;
  }
  if (client.address.empty()) {
    node.process_options = {.binary = absl::GetFlag(FLAGS_server),
                            .directory = node.scratch->path(),
                            .pool_bytes = pool,
                            .disk = absl::GetFlag(FLAGS_disk)};
    std::fprintf(stderr, "starting cistern-server with a pool of %s ...\n",
                 base::FormatBytes(pool).c_str());
    CISTERN_ASSIGN_OR_RETURN(node.process, NodeProcess::Start(node.process_options));
    client.address = node.process->address();
  }
  CISTERN_ASSIGN_OR_RETURN(node.client, Client::Connect(client));
  return node;
}

// Kills the node and starts it again on the same disk; returns when the client has found it, so
// that the run shows what a restarted node still has and not how long a client waits before it
// tries again.
void KillAndRestart(Node& node, const base::ModelSpec& model) {
  std::fprintf(stderr, "  killing the node (SIGKILL) and starting it again on the same disk\n");
  node.process->Stop(SIGKILL);
  absl::StatusOr<std::unique_ptr<NodeProcess>> again = NodeProcess::Start(node.process_options);
  if (!again.ok()) {
    node.process.reset();
    std::fprintf(stderr, "  %s\n", again.status().ToString().c_str());
    return;
  }
  node.process = *std::move(again);
  const std::vector<base::TokenId> probe = {0, 1};
  const absl::Time give_up = absl::Now() + absl::Seconds(10);
  while (!node.client->MakePlan(model, probe, {}).ok() && absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(20));
  }
}

// Progress on standard error, ten times a run; and the crash, if one is asked for.
void AfterCall(Node& node, const base::ModelSpec& model, uint32_t done, uint32_t all) {
  if (done == all || done % std::max(1u, all / 10) == 0) {
    std::fprintf(stderr, "  %u of %u calls\n", done, all);
  }
  if (absl::GetFlag(FLAGS_kill_after) == done && node.process != nullptr)
    KillAndRestart(node, model);
}

uint64_t Count(const nlohmann::json& status, const char* part, const char* name) {
  const auto found = status.find(part);
  return found == status.end() || !found->is_object() ? 0 : found->value(name, uint64_t{0});
}

absl::Status AskNode(const Node& node, ReplayReport* report) {
  const std::string address =
      node.process != nullptr ? node.process->address() : absl::GetFlag(FLAGS_address);
  if (node.embedded == nullptr && address.empty())
    return absl::UnavailableError("it did not start again");
  CISTERN_ASSIGN_OR_RETURN(const std::unique_ptr<transport::Link> link,
                           node.embedded != nullptr
                               ? node.embedded->Connect()
                               : transport::Connect(address, {.client_name = "cistern-bench"}));
  CISTERN_ASSIGN_OR_RETURN(
      const transport::AdminReply status,
      transport::CallFor<transport::AdminReply>(*link, transport::AdminRequest{}));
  const auto json = nlohmann::json::parse(status.json, nullptr, false);
  if (!json.is_object()) return absl::InternalError("its status is not understood");
  report->node_used_bytes = Count(json, "memory", "used_bytes");
  report->node_arena_bytes = Count(json, "memory", "arena_bytes");
  report->node_no_room = Count(json, "totals", "no_room");
  report->node_evicted_objects = Count(json, "totals", "evicted_objects");
  report->node_dropped_objects = Count(json, "totals", "dropped_objects");
  report->node_write_failures = Count(json, "disk", "write_failures");
  if (node.process != nullptr) report->node_resident_bytes = node.process->ResidentBytes();
  return absl::OkStatus();
}

absl::StatusOr<ReplayReport> Run() {
  CISTERN_ASSIGN_OR_RETURN(ReplayOptions options, ChosenOptions());
  CISTERN_ASSIGN_OR_RETURN(const Trace trace, ChosenTrace());
  CISTERN_ASSIGN_OR_RETURN(Node node, ReachNode(trace, options));
  options.after_call = [&](uint32_t done, uint32_t all) {
    AfterCall(node, options.model, done, all);
  };
  std::fprintf(stderr, "replaying %zu calls of %s ...\n", trace.calls.size(), trace.name.c_str());
  CISTERN_ASSIGN_OR_RETURN(ReplayReport report, Replay(*node.client, trace, options));
  if (const absl::Status asked = AskNode(node, &report); !asked.ok())
    report.node_gone = asked.ToString();
  node.client.reset();
  return report;
}

}  // namespace

int RunReplayCommand() {
  CleanUpOnSignals();
  const absl::StatusOr<ReplayReport> report = Run();
  if (!report.ok()) {
    std::fprintf(stderr, "cistern-bench replay: %s\n",
                 std::string(report.status().message()).c_str());
    return 1;
  }
  std::printf("%s\n",
              absl::GetFlag(FLAGS_json) ? ToJson(*report).c_str() : ToTable(*report).c_str());
  if (report->rows_mismatched != 0) {
    std::fprintf(stderr,
                 "cistern-bench replay: %llu fetched rows were not what computing them gives\n",
                 static_cast<unsigned long long>(report->rows_mismatched));
    return 2;
  }
  const uint64_t failures =
      report->failed_plans + report->failed_fetches + report->failed_publishes;
  if (failures != 0 && absl::GetFlag(FLAGS_kill_after) == 0) {
    std::fprintf(stderr,
                 "cistern-bench replay: %llu calls to the node failed; what they should have "
                 "brought was computed\n",
                 static_cast<unsigned long long>(failures));
    return 3;
  }
  return 0;
}

}  // namespace cistern::tools
