// From a node's answer to pieces. Nothing in the answer is believed: indexes are checked, and a
// segment is used only as far as its token ids are those of the prompt.
//
// Thread   any; pure
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "base/model_spec.h"
#include "cistern/policy.h"
#include "client_lib/src/piece.h"
#include "client_lib/src/prompt.h"
#include "transport/wire/messages.h"

namespace cistern::client {

struct MatchInput {
  const Prompt& prompt;
  const Model& model;
  const PlanPolicy& policy;
  const transport::FindReply& reply;
};

// Internal: a reply that does not fit the request (`items` of them), or describes segments that
// cannot be.
absl::Status CheckReply(const transport::FindReply& reply, size_t items, const Model& model);

// Chunks that were found as a whole. `mismatches` counts keys with other tokens behind them: those
// are misses.
Pieces WholeChunks(const MatchInput& input, uint64_t* mismatches);

// Adds parts of neighbouring segments in the gaps between `pieces`: the longest common prefix with
// what may follow a gap's left edge, then the longest common suffix with what may precede its right
// edge; better quality first.
Pieces FillGaps(const MatchInput& input, const Pieces& pieces);

}  // namespace cistern::client
