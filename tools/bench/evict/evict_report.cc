#include "tools/bench/evict/evict_report.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

#include "storage/policy/eviction_policy.h"
#include "storage/policy/keyed_policy.h"
#include "storage/policy/marconi_policy.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

constexpr std::array<double, 4> kFractions = {0.05, 0.10, 0.25, 0.50};
constexpr std::array<double, 6> kAlphas = {0, 0.1, 0.2, 0.5, 1, 2};

double BlockHitRatio(const BlockReplay& replay) {
  return static_cast<double>(replay.hit_blocks) / static_cast<double>(replay.blocks);
}

EvictRun BestMarconi(const BlockTrace& trace, const base::ModelSpec& model, uint64_t capacity) {
  EvictRun best;
  for (const double alpha : kAlphas) {
    storage::KeyedPolicy policy(std::make_unique<storage::MarconiPolicy>(alpha));
    const BlockReplay replay = ReplayBlocks(trace, model, capacity, policy);
    if (alpha > 0 && replay.saved_cost <= best.replay.saved_cost) continue;
    best.alpha = alpha;
    best.replay = replay;
  }
  return best;
}

EvictRun RunOf(absl::string_view name, const BlockTrace& trace, const base::ModelSpec& model,
               uint64_t capacity) {
  if (name == "marconi") return BestMarconi(trace, model, capacity);
  storage::KeyedPolicy policy(*storage::MakeEvictionPolicy(name));
  EvictRun run;
  run.replay = ReplayBlocks(trace, model, capacity, policy);
  return run;
}

std::string Row(absl::string_view policy, const BlockReplay& replay) {
  return absl::StrFormat("%-8s %10.2f %12.2f %12.2f\n", policy, 100 * replay.hit_ratio(),
                         100 * BlockHitRatio(replay), 100 * replay.cost_saved());
}

}  // namespace

std::vector<EvictRun> CompareEviction(const BlockTrace& trace, const base::ModelSpec& model) {
  std::vector<EvictRun> runs;
  const std::vector<absl::string_view> policies = storage::EvictionPolicyNames();
  runs.reserve(kFractions.size() * policies.size());
  for (const double fraction : kFractions) {
    const uint64_t capacity =
        std::max<uint64_t>(1, static_cast<uint64_t>(trace.num_blocks * fraction));
    const BlockReplay belady = ReplayBelady(trace, model, capacity);
    for (const absl::string_view name : policies) {
      EvictRun run = RunOf(name, trace, model, capacity);
      run.policy = std::string(name);
      run.fraction = fraction;
      run.capacity = capacity;
      run.belady = belady;
      runs.push_back(std::move(run));
    }
  }
  return runs;
}

std::string EvictRunsToJson(const std::vector<EvictRun>& runs) {
  std::string text;
  for (const EvictRun& run : runs) {
    text += nlohmann::ordered_json{{"policy", run.policy},
                                   {"fraction", run.fraction},
                                   {"hit_ratio", run.replay.hit_ratio()},
                                   {"cost_saved", run.replay.cost_saved()},
                                   {"belady_hit_ratio", run.belady.hit_ratio()},
                                   {"belady_cost_saved", run.belady.cost_saved()},
                                   {"block_hit_ratio", BlockHitRatio(run.replay)},
                                   {"belady_block_hit_ratio", BlockHitRatio(run.belady)},
                                   {"alpha", run.alpha},
                                   {"blocks", run.capacity}}
                .dump();
    text += '\n';
  }
  return text;
}

std::string EvictRunsToTable(const std::vector<EvictRun>& runs) {
  std::string text;
  double fraction = 0;
  for (const EvictRun& run : runs) {
    if (run.fraction != fraction) {
      fraction = run.fraction;
      text += absl::StrFormat("%s%.0f %% of the footprint: %d blocks of %d tokens\n",
                              text.empty() ? "" : "\n", 100 * fraction, run.capacity,
                              kTraceBlockTokens);
      text += absl::StrFormat("%-8s %10s %12s %12s\n", "policy", "tokens %", "blocks %", "cost %");
      text += Row("belady", run.belady);
    }
    text += Row(run.policy, run.replay);
  }
  return text;
}

}  // namespace cistern::tools
