// A worker's recurrent state, as hybrid models keep it beside their rows (base/state_spec.h says
// what one layer holds).
//
//   MakePlan ─► Plan::resume(): rows and state agree on this token
//   Fetch    ─► the state there: a checkpoint, and the log behind it folded in
//   ... prefill from there ...
//   PublishStates ─► a log of what was fed in since, or a checkpoint, whichever is cheaper
//
// Reuse by content never applies to state: it depends on the whole past.
//
// Lifetime  the memory outlives the operation that was given the description
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/state_spec.h"

namespace cistern {

class DeviceMemory;  // device_memory.h

// The state of one sequence behind one of its tokens.
struct StateView {
  // [state layers]: [num_heads, value_dim, key_dim] of the spec's temporal type, dense, aligned to
  // its elements.
  std::vector<std::byte*> temporal;
  // [state layers]: [conv_width, conv_channels] bf16, oldest first, dense. Empty without a
  // convolution.
  std::vector<std::byte*> conv;
  DeviceMemory* device = nullptr;  // where both lie; nullptr: host memory
};

// What the model's weights say about decay; folding a log needs it.
struct StateConstants {
  // [state layers]: kMamba1 A [d_inner, d_state], kMamba2 A [num_heads], kLightning g [num_heads],
  // all <= 0. Empty for the other families: their decays are in the log.
  std::vector<const float*> decay;
};

// What the layers were fed with, tokens [begin, end) of the sequence. In host memory.
struct LogSource {
  // One of StateSpec's inputs (base/state_spec.h), in the order of its table.
  struct Field {
    std::vector<const std::byte*> layers;  // [state layers]
    uint64_t token_stride = 0;             // bytes; token i lies at layers[l] + (i - begin) * it
  };
  uint32_t begin = 0;
  uint32_t end = 0;
  std::vector<Field> fields;
  // What went into the convolution: [conv_channels] bf16. Empty: logs have a tail at their end
  // only, that of the StatePoint there.
  Field conv_rows;
};

// A state that the worker has, or had when it copied it.
struct StatePoint {
  uint32_t position = 0;  // tokens before it
  StateView state;        // temporal may be empty where a log leads there; conv may not
};

struct StateSource {
  std::vector<StatePoint> points;  // ascending: Plan::wanted_states, and the call's end
  LogSource log;                   // may be empty
};

struct StatePolicy {
  // Tokens that may lie between a state and its checkpoint: more cost more to fold than they save.
  // 0: a quarter of the tokens whose inputs take as many bytes as a state.
  uint32_t max_chain_tokens = 0;
  // Logs that can be resumed behind each token (needs LogSource::conv_rows), or at their end only.
  base::LogTails tails = base::LogTails::kEnd;
};

struct StateReport {
  uint64_t checkpoints = 0;  // stored now
  uint64_t logs = 0;
  uint64_t had = 0;      // the node had them already
  uint64_t dropped = 0;  // no room, or not written in time
  // Of those, logs whose beginning the node no longer has (and no checkpoint was at hand).
  uint64_t without_base = 0;
  uint64_t bytes = 0;
};

}  // namespace cistern
