// The main job for models that keep recurrent state: an agent workload served by a node, every
// fetched row and every resumed state checked.
//
// For each call: plan, fetch rows and state, check both, "compute" the rest of prompt and output,
// publish the rows, and the states that a scheme wants.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "tools/bench/state_oracle.h"
#include "tools/bench/state_scheme.h"
#include "tools/bench/trace.h"

namespace cistern::tools {

// A resumed state may be as far from the float64 one, relatively: what float32 folds leave over
// thousands of tokens; or what rounding a state to bf16 now and then leaves.
double StateTolerance(base::StateType type);

struct HybridReplayOptions {
  base::ModelSpec model;
  StateScheme scheme = StateScheme::kLog;
  absl::Duration plan_deadline = absl::Seconds(5);
  bool flat = false;   // hide the structural parts from the chunker
  uint32_t calls = 0;  // 0 = all
  // Called after each call with (done, all); also where a caller may disturb the node.
  std::function<void(uint32_t, uint32_t)> after_call = nullptr;
};

struct HybridReport {
  std::string workload, model, scheme;
  uint32_t row_layers = 0, state_layers = 0;
  uint64_t calls = 0, prompt_tokens = 0;
  uint64_t recovered_tokens = 0;  // prompt tokens before the one where the worker went on
  uint64_t bound_tokens = 0;      // the same, could every token be resumed at
  uint64_t folded_tokens = 0;     // behind the checkpoints that were fetched
  // Of states: what the node was given, and what it brought.
  uint64_t checkpoints_stored = 0, logs_stored = 0, states_dropped = 0, bytes_stored = 0;
  uint64_t state_bytes_moved = 0;
  uint64_t bytes_moved = 0;  // states and rows
  uint64_t rows_verified = 0, rows_mismatched = 0;
  uint64_t states_verified = 0, states_mismatched = 0;
  double max_relative_l2 = 0;  // of the temporal states
  uint64_t failed_plans = 0, failed_fetches = 0, failed_publishes = 0;
  std::string first_error;  // of those, as the client gave it

  uint64_t mismatched() const { return rows_mismatched + states_mismatched; }
  uint64_t failures() const { return failed_plans + failed_fetches + failed_publishes; }
};

// `oracle` is of this model's StateModel, and may have served other runs. InvalidArgument: a model
// without state, an empty trace. Errors of the node do not end the run: the call is computed and
// the failure counted, as a worker would do.
absl::StatusOr<HybridReport> HybridReplay(Client& client, const Trace& trace,
                                          const HybridReplayOptions& options,
                                          const StateModel& state_model, StateOracle& oracle);

// What a pool needs to hold all rows and states of any scheme.
uint64_t HybridWorkingSetBytes(const Trace& trace, uint32_t calls, const base::ModelSpec& model);

// Of one trace and model, one scheme each.
std::string ToTable(std::span<const HybridReport> reports);
std::string ToJson(const HybridReport& report);

}  // namespace cistern::tools
