// What the pools comparison asks of an allocator, and what it measures of it.
//
// A request holds blocks of two kinds: KV pages (16 tokens of one attention layer) and recurrent
// states (one SSM layer). The runs (open_loop.h, admission.h) call
//
//     (Allocate* Release)*        for each request, requests interleaved
//
// A policy that evicts destroys blocks of requests that still run, as the published allocators do:
// nobody is told, the request goes on, and Release gives back what is left. `damaged` remembers.
//
// Thread   one at a time
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "tools/bench/pools/workload.h"

namespace cistern::tools {

enum class BlockKind : uint8_t { kPage = 0, kState = 1 };

// A hybrid model as the paper has it: 4 attention layers, 28 SSM layers, bf16.
struct PoolModel {
  static constexpr uint32_t kAttentionLayers = 4;
  static constexpr uint32_t kStateLayers = 28;
  static constexpr uint32_t kPageTokens = 16;

  std::string name;
  uint64_t page_bytes = 0;
  uint64_t state_bytes = 0;

  uint64_t bytes(BlockKind kind) const {
    return kind == BlockKind::kPage ? page_bytes : state_bytes;
  }
};

PoolModel JambaPools();   // pages of 64 KiB, states of 256 KiB
PoolModel Mamba2Pools();  // pages of 64 KiB, states of 2 MiB

// Pages of one layer for so many tokens.
constexpr uint32_t PagesFor(uint64_t tokens) {
  return static_cast<uint32_t>(
      std::max<uint64_t>(1, (tokens + PoolModel::kPageTokens - 1) / PoolModel::kPageTokens));
}

// Every block that a request has at its end.
struct Footprint {
  uint64_t pages = 0;
  uint64_t states = 0;

  uint64_t bytes(const PoolModel& model) const {
    return pages * model.page_bytes + states * model.state_bytes;
  }
};
Footprint FinalFootprint(const PoolRequest& request);

struct PolicyCounts {
  uint64_t operations = 0;       // blocks taken and blocks given back
  uint64_t live_evictions = 0;   // times that a running request lost all its blocks of one pool
  uint64_t moved_bytes = 0;      // capacity that changed its pool (avmp), blocks copied (ours)
  double rebalance_seconds = 0;  // of ours: making room in Allocate, without the copies
  uint64_t rebalances = 0;       // of ours: how often Allocate moved blocks
  double ahead_seconds = 0;      // of ours with a predictor: predicting and making room in Tick
  uint64_t ahead_bytes = 0;      // of moved_bytes, those moved there
};

class PoolPolicy {
 public:
  virtual ~PoolPolicy() = default;

  // `count` blocks (at least 1) for `request`; false: not one was taken.
  virtual bool Allocate(uint32_t request, BlockKind kind, uint32_t count) = 0;
  // All that the request has.
  virtual void Release(uint32_t request) = 0;
  // False when this surely cannot be had now without evicting: spares the attempt.
  virtual bool MayFit(const Footprint& footprint) const = 0;
  // Whether the request lost blocks while it ran.
  virtual bool damaged(uint32_t request) const = 0;
  virtual PolicyCounts counts() const = 0;
  // The time is `tick` now, and nobody waits: a policy may prepare for what comes.
  virtual void Tick(uint64_t /*tick*/) {}
};

struct PolicyOptions {
  PoolModel model;
  uint64_t total_bytes = 0;
  uint32_t num_requests = 0;  // requests are numbered below it
  bool evict = true;          // false: a policy that would destroy running requests refuses instead
};

// What a policy is called: "padded", "static R" (R: the states' share, 0.1 to 0.9), "avmp B" (B
// blocks move at a time, 1 to 256), "shared" (a counter of bytes: no allocator can do better),
// "ours" (the product's pools) and "ours+predictor" (with its predictor on).
struct PolicyName {
  enum class Kind { kPadded, kStatic, kAvmp, kShared, kOurs, kOursPredicted };
  Kind kind = Kind::kOurs;
  double ratio = 0.5;  // of static and avmp
  uint32_t batch = 0;  // of avmp
  std::string text;    // as it is printed

  // The published ones lose state; the others run only under admission control.
  bool lossy() const {
    return kind != Kind::kShared && kind != Kind::kOurs && kind != Kind::kOursPredicted;
  }
};

// InvalidArgument lists the names.
absl::StatusOr<PolicyName> ParsePolicyName(absl::string_view text);

absl::StatusOr<std::unique_ptr<PoolPolicy>> MakePolicy(const PolicyName& name,
                                                       const PolicyOptions& options);

}  // namespace cistern::tools
