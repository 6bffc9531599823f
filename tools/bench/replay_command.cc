#include "tools/bench/replay_command.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <unistd.h>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"

#include "base/model_presets.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "tools/bench/hybrid_replay.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/replay.h"
#include "tools/bench/replay_node.h"
#include "tools/bench/repo_workload.h"

ABSL_FLAG(std::string, trace, "", "replay: a .jsonl trace with pieces.jsonl beside it");
ABSL_FLAG(
    std::string, workload, "",
    "replay: 'repo' makes an agent session over the files under --root, 'sessions' several that "
    "only grow");
ABSL_FLAG(std::string, root, "",
          "replay: the source tree of --workload; empty = the one that this program was built "
          "from");
ABSL_FLAG(std::string, model, "deepseek-v2-lite", "replay: a model preset");
ABSL_FLAG(
    uint32_t, layers, 0,
    "replay: only the model's first N layers of each kind, so that a whole trace fits in memory; 0 "
    "= all");
ABSL_FLAG(std::string, scheme, "",
          "replay: of a model with recurrent state, which states are stored: 'multiples' of 512 "
          "tokens, 'ends' of calls, 'branches' (and where prompts part), 'log' (these, as logs "
          "where that is smaller), or 'all', one after the other; empty = all");
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
          "replay, transfer, peers, python: the cistern-server program to start; empty = the one "
          "beside this program");
ABSL_FLAG(bool, json, false, "print the report as one JSON object");

namespace cistern::tools {
namespace {

constexpr uint64_t kOracleBytes = 2ull << 30;  // of float64 states that are kept

absl::StatusOr<Trace> ChosenTrace() {
  const std::string path = absl::GetFlag(FLAGS_trace), workload = absl::GetFlag(FLAGS_workload);
  if (path.empty() && workload.empty())
    return absl::InvalidArgumentError(
        "say what to replay: --trace FILE or --workload repo or sessions");
  if (!path.empty() && !workload.empty())
    return absl::InvalidArgumentError("--trace and --workload: give one of them");
  if (!path.empty()) return LoadTrace(path);
  if (workload != "repo" && workload != "sessions")
    return absl::InvalidArgumentError(
        absl::StrCat("unknown --workload '", workload, "'; there are: repo, sessions"));
  RepoWorkloadOptions options{.root = absl::GetFlag(FLAGS_root)};
  if (options.root.empty()) options.root = CISTERN_SOURCE_DIR;
  if (absl::GetFlag(FLAGS_calls) != 0) options.calls = absl::GetFlag(FLAGS_calls);
  if (workload == "repo") return MakeRepoWorkload(options);
  options.max_file_tokens = 300;
  return MakeSessionWorkload(options);
}

absl::StatusOr<base::ModelSpec> ChosenModel() {
  CISTERN_ASSIGN_OR_RETURN(base::ModelSpec model, base::ModelPreset(absl::GetFlag(FLAGS_model)));
  const uint32_t layers = absl::GetFlag(FLAGS_layers);
  const uint32_t most = std::max(model.num_layers, model.state.num_layers);
  if (layers > most) {
    return absl::InvalidArgumentError(absl::StrCat("--layers ", layers, ": the model has ", most));
  }
  return layers == 0 ? model : base::WithLayers(model, layers);
}

absl::StatusOr<Reuse> ChosenReuse() {
  const std::string policy = absl::GetFlag(FLAGS_policy);
  if (policy == "exact") return Reuse::kExact;
  if (policy == "content") return Reuse::kContent;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown --policy '", policy, "'; there are: exact, content"));
}

absl::StatusOr<ReplayOptions> ChosenOptions(const base::ModelSpec& model) {
  if (!absl::GetFlag(FLAGS_scheme).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--scheme: ", model.name, " keeps no recurrent state"));
  }
  ReplayOptions options{.model = model};
  CISTERN_ASSIGN_OR_RETURN(options.policy.reuse, ChosenReuse());
  options.policy.recompute_head = absl::GetFlag(FLAGS_recompute_head);
  options.policy.deadline = absl::Seconds(5);
  options.flat = absl::GetFlag(FLAGS_flat);
  options.rotated = absl::GetFlag(FLAGS_rotated);
  options.calls = absl::GetFlag(FLAGS_calls);
  return options;
}

// Twice the working set: pages of 16 tokens are part full at the end of every chunk.
absl::StatusOr<uint64_t> PoolBytes(uint64_t working_set) {
  if (!absl::GetFlag(FLAGS_pool).empty()) return base::ParseBytes(absl::GetFlag(FLAGS_pool));
  const uint64_t physical =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min<uint64_t>(2 * working_set + (64ull << 20), physical / 3);
}

absl::StatusOr<ReplayNodeOptions> ChosenNode(uint64_t working_set) {
  ReplayNodeOptions options{.disk = absl::GetFlag(FLAGS_disk),
                            .by_copy = absl::GetFlag(FLAGS_by_copy),
                            .embedded = absl::GetFlag(FLAGS_embedded),
                            .address = absl::GetFlag(FLAGS_address),
                            .server = absl::GetFlag(FLAGS_server)};
  if (!options.address.empty() && options.embedded) {
    return absl::InvalidArgumentError("choose one: --embedded or --address");
  }
  if (absl::GetFlag(FLAGS_kill_after) != 0 && (!options.address.empty() || options.embedded)) {
    return absl::InvalidArgumentError(
        "--kill_after kills the node that the bench starts itself: leave out --address and "
        "--embedded");
  }
  CISTERN_ASSIGN_OR_RETURN(options.pool_bytes, PoolBytes(working_set));
  return options;
}

// Progress on standard error, ten times a run; and the crash, if one is asked for.
void AfterCall(ReplayNode& node, const base::ModelSpec& model, uint32_t done, uint32_t all) {
  if (done == all || done % std::max(1u, all / 10) == 0) {
    std::fprintf(stderr, "  %u of %u calls\n", done, all);
  }
  if (absl::GetFlag(FLAGS_kill_after) == done) node.KillAndRestart(model);
}

void Describe(const ReplayNode& node, ReplayReport* report) {
  const absl::StatusOr<NodeStatus> status = node.Ask();
  if (!status.ok()) {
    report->node_gone = status.status().ToString();
    return;
  }
  report->node_used_bytes = status->used_bytes;
  report->node_arena_bytes = status->arena_bytes;
  report->node_resident_bytes = status->resident_bytes;
  report->node_no_room = status->no_room;
  report->node_evicted_objects = status->evicted_objects;
  report->node_dropped_objects = status->dropped_objects;
  report->node_write_failures = status->write_failures;
}

absl::StatusOr<ReplayReport> Run(const base::ModelSpec& model) {
  CISTERN_ASSIGN_OR_RETURN(ReplayOptions options, ChosenOptions(model));
  CISTERN_ASSIGN_OR_RETURN(const Trace trace, ChosenTrace());
  CISTERN_ASSIGN_OR_RETURN(const ReplayNodeOptions node_options,
                           ChosenNode(WorkingSetBytes(trace, options.calls, model)));
  CISTERN_ASSIGN_OR_RETURN(const std::unique_ptr<ReplayNode> node, ReplayNode::Reach(node_options));
  options.after_call = [&](uint32_t done, uint32_t all) { AfterCall(*node, model, done, all); };
  std::fprintf(stderr, "replaying %zu calls of %s ...\n", trace.calls.size(), trace.name.c_str());
  CISTERN_ASSIGN_OR_RETURN(ReplayReport report, Replay(node->client(), trace, options));
  Describe(*node, &report);
  return report;
}

absl::Status CheckHybridFlags(size_t schemes) {
  if (absl::GetFlag(FLAGS_rotated) || absl::GetFlag(FLAGS_recompute_head) != 0) {
    return absl::InvalidArgumentError(
        "--rotated and --recompute_head: a model with recurrent layers moves no rows");
  }
  if (schemes > 1 && !absl::GetFlag(FLAGS_address).empty()) {
    return absl::InvalidArgumentError(
        "--address: each scheme wants a node of its own; choose one with --scheme");
  }
  return ChosenReuse().status();
}

// One scheme after the other, each against a fresh node.
absl::StatusOr<std::vector<HybridReport>> RunHybrid(const base::ModelSpec& model) {
  const std::string wanted = absl::GetFlag(FLAGS_scheme);
  CISTERN_ASSIGN_OR_RETURN(const std::vector<StateScheme> schemes,
                           ParseStateSchemes(wanted.empty() ? "all" : wanted));
  CISTERN_RETURN_IF_ERROR(CheckHybridFlags(schemes.size()));
  CISTERN_ASSIGN_OR_RETURN(const Trace trace, ChosenTrace());
  HybridReplayOptions options{.model = model};
  options.flat = absl::GetFlag(FLAGS_flat);
  options.calls = absl::GetFlag(FLAGS_calls);
  CISTERN_ASSIGN_OR_RETURN(const ReplayNodeOptions node_options,
                           ChosenNode(HybridWorkingSetBytes(trace, options.calls, model)));
  const StateModel state_model(model);
  StateOracle oracle(state_model, kOracleBytes);
  std::vector<HybridReport> reports;
  for (const StateScheme scheme : schemes) {
    CISTERN_ASSIGN_OR_RETURN(const std::unique_ptr<ReplayNode> node,
                             ReplayNode::Reach(node_options));
    options.scheme = scheme;
    options.after_call = [&](uint32_t done, uint32_t all) { AfterCall(*node, model, done, all); };
    std::fprintf(stderr, "replaying %zu calls of %s, states: %s ...\n", trace.calls.size(),
                 trace.name.c_str(), std::string(ToString(scheme)).c_str());
    CISTERN_ASSIGN_OR_RETURN(HybridReport report,
                             HybridReplay(node->client(), trace, options, state_model, oracle));
    reports.push_back(std::move(report));
  }
  return reports;
}

int Complain(const absl::Status& status) {
  std::fprintf(stderr, "cistern-bench replay: %s\n", std::string(status.message()).c_str());
  return 1;
}

int EndWith(uint64_t mismatched, absl::string_view what, uint64_t failures) {
  if (mismatched != 0) {
    std::fprintf(stderr,
                 "cistern-bench replay: %llu fetched %s were not what computing them gives\n",
                 static_cast<unsigned long long>(mismatched), std::string(what).c_str());
    return 2;
  }
  if (failures != 0 && absl::GetFlag(FLAGS_kill_after) == 0) {
    std::fprintf(stderr,
                 "cistern-bench replay: %llu calls to the node failed; what they should have "
                 "brought was computed\n",
                 static_cast<unsigned long long>(failures));
    return 3;
  }
  return 0;
}

int ReplayModel(const base::ModelSpec& model) {
  const absl::StatusOr<ReplayReport> report = Run(model);
  if (!report.ok()) return Complain(report.status());
  std::printf("%s\n",
              absl::GetFlag(FLAGS_json) ? ToJson(*report).c_str() : ToTable(*report).c_str());
  return EndWith(report->rows_mismatched, "rows",
                 report->failed_plans + report->failed_fetches + report->failed_publishes);
}

int ReplayHybridModel(const base::ModelSpec& model) {
  const absl::StatusOr<std::vector<HybridReport>> reports = RunHybrid(model);
  if (!reports.ok()) return Complain(reports.status());
  uint64_t mismatched = 0, failures = 0;
  for (const HybridReport& report : *reports) {
    mismatched += report.mismatched();
    failures += report.failures();
    if (absl::GetFlag(FLAGS_json)) std::printf("%s\n", ToJson(report).c_str());
  }
  if (!absl::GetFlag(FLAGS_json)) std::printf("%s", ToTable(*reports).c_str());
  return EndWith(mismatched, "rows or states", failures);
}

}  // namespace

int RunReplayCommand() {
  CleanUpOnSignals();
  const absl::StatusOr<base::ModelSpec> model = ChosenModel();
  if (!model.ok()) return Complain(model.status());
  return model->state.present() ? ReplayHybridModel(*model) : ReplayModel(*model);
}

}  // namespace cistern::tools
