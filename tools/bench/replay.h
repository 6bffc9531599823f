// The main job: an agent workload served by a node, every fetched row checked.
//
// For each call: plan, fetch into a paged cache, check every row that came against what computing
// it would have left, "compute" the rest, publish it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "tools/bench/trace.h"

namespace cistern::tools {

struct ReplayOptions {
  base::ModelSpec model;
  PlanPolicy policy;
  bool flat = false;  // hide the structural parts from the chunker
  bool rotated =
      false;  // publish k_r after RoPE; moved rows are then checked within the stated bound
  uint32_t calls = 0;  // 0 = all
  // Called after each call with (done, all); also where a caller may disturb the node.
  std::function<void(uint32_t, uint32_t)> after_call = nullptr;
};

struct ReplayReport {
  std::string workload, model;
  uint32_t layers = 0;
  uint64_t calls = 0, prompt_tokens = 0, bound_tokens = 0;
  uint64_t exact_tokens = 0, lossless_tokens = 0, content_tokens = 0, computed_tokens = 0;
  uint64_t moved_tokens = 0, moved_furthest = 0;  // recovered elsewhere than they were computed
  uint64_t rows_verified = 0, rows_mismatched = 0;
  uint64_t bytes_fetched = 0, bytes_from_disk = 0, bytes_in_place = 0;
  uint64_t failed_plans = 0, failed_fetches = 0, failed_publishes = 0, missing_tokens = 0;
  // The first of each kind, as the client gave it; "" = none failed. A plan that came too late is a
  // failed one.
  std::string first_plan_error, first_fetch_error, first_publish_error;
  uint64_t segments_published = 0, segments_dropped = 0, bytes_published = 0;
  double fetch_gbps = 0, memcpy_gbps = 0;
  double plan_us_p50 = 0, plan_us_p99 = 0, fetch_us_p50 = 0, fetch_us_p99 = 0;
  // What the node says of itself, since it started. `node_gone`: why it says nothing any more.
  uint64_t node_used_bytes = 0, node_arena_bytes = 0, node_resident_bytes = 0;
  uint64_t node_no_room = 0;          // reservations that found no room
  uint64_t node_evicted_objects = 0;  // left memory to make room
  uint64_t node_dropped_objects = 0;  // gone altogether: for room, or for a better copy
  uint64_t node_write_failures = 0;   // of the disk tier
  std::string node_gone;

  uint64_t recovered_tokens() const { return exact_tokens + content_tokens; }
};

// InvalidArgument: a model whose rows cannot be made (opaque layout), an empty trace. Errors of the
// node do not end the run: the call is computed and the failure counted, as a worker would do.
absl::StatusOr<ReplayReport> Replay(Client& client, const Trace& trace,
                                    const ReplayOptions& options);

// What a pool needs to hold all that the trace's first `calls` calls (0 = all) bring for the first
// time.
uint64_t WorkingSetBytes(const Trace& trace, uint32_t calls, const base::ModelSpec& model);

std::string ToTable(const ReplayReport& report);
std::string ToJson(const ReplayReport& report);

}  // namespace cistern::tools
