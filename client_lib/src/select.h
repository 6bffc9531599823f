// Which of the pieces that were found are worth having: the policy's rules, one by one.
//
//   sink ─► recompute head ─► last token ─► short runs ─► cost
//
// A run is a stretch of pieces without a gap between them.
//
// Thread   any; pure
#pragma once

#include <cstdint>
#include <vector>

#include "base/object.h"
#include "cistern/policy.h"
#include "client_lib/src/piece.h"
#include "transport/wire/messages.h"

namespace cistern::client {

struct SelectInput {
  const PlanPolicy& policy;
  const CostModel& cost;
  const std::vector<transport::ObjectRef>& objects;
  uint32_t num_tokens = 0;   // of the prompt
  uint64_t token_bytes = 0;  // of the model
};

// Rows that were moved lie before sink_tokens neither here nor where they were computed: there they
// had next to nothing to attend to.
void ClipSink(const SelectInput& input, Pieces* pieces);
// The first recompute_head tokens of each moved run that comes from one place: consecutive there
// and here.
void ClipHeads(const SelectInput& input, Pieces* pieces);
void ClipLastToken(const SelectInput& input, Pieces* pieces);
// Runs under min_span_tokens go: first those of pieces that are not lossless, then what is left of
// any kind.
void DropShortRuns(const SelectInput& input, Pieces* pieces);
// What is faster to compute goes.
void DropDear(const SelectInput& input, Pieces* pieces);

// All of it. Returns how many tokens the last two left out.
uint64_t Select(const SelectInput& input, Pieces* pieces);

}  // namespace cistern::client
