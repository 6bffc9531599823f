// Which states to share, and as what: a log where a known state lies not far before, a checkpoint
// otherwise.
//
//   known state ──log──► point ──log──► point ──────────checkpoint──► point
//
// A point is known by its context, and is found by whoever shares the beginning of the chunk that
// it lies in (resume.h).
//
// Thread   any; pure
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/object.h"
#include "cistern/client.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/prompt.h"

namespace cistern::client {

struct StatePlanInput {
  const Prompt& prompt;
  const Model& model;
  // A state that the node has: what the sequence was resumed from. Position 0: the zero state.
  uint32_t known_position = 0;
  uint32_t known_chain_tokens = 0;  // since its checkpoint
  const StateSource& source;
  const StatePolicy& policy;
};

// How one point is to be shared, with what follows if it cannot be a log after all.
struct PlannedPoint {
  uint32_t point = 0;       // index into StateSource::points
  uint32_t begin = 0;       // of a log: the state that it continues
  bool log = false;         // otherwise a checkpoint
  bool checkpoint = false;  // may be one: its state is at hand
  uint32_t chain_tokens = 0;
};

// InvalidArgument, naming the field: not the family's fields, or not one of their layers each;
// `conv_rows`: nor what went into the convolution, if the model has one.
absl::Status ValidateLogFields(const base::StateSpec& spec, const LogSource& log, bool conv_rows);

// Tokens that may lie between a state and its checkpoint.
uint32_t LongestChain(const base::StateSpec& spec, const StatePolicy& policy);

// InvalidArgument, naming the field: points that do not ascend, lie past the tokens or at 0; a
// known state past the tokens; layers that are not the model's; fields of a log that are not its
// family's; tails that the source has no rows for.
absl::Status ValidateStates(const StatePlanInput& input);

// The point at `index`, when the state at `known` (with so long a chain) is the last that the node
// has. Not more than one object each: decided one after the other, because the node may refuse one.
PlannedPoint PlanPoint(const StatePlanInput& input, uint32_t index, uint32_t known,
                       uint32_t known_chain_tokens);

base::ObjectHeader CheckpointHeader(const StatePlanInput& input, uint32_t position,
                                    uint32_t previous);
base::ObjectHeader LogHeader(const StatePlanInput& input, uint32_t begin, uint32_t end);

}  // namespace cistern::client
