// What a hybrid model reuses: rows from the first token on without a gap, as far as there is a
// state to go on with. Rows behind it are of no use: their tokens are computed again, all layers.
//
// Thread   any; pure
#pragma once

#include <cstdint>
#include <vector>

#include "cistern/plan.h"
#include "client_lib/src/find_match.h"
#include "client_lib/src/piece.h"
#include "client_lib/src/resume.h"

namespace cistern::client {

struct HybridMatch {
  Pieces pieces;  // [0, resume.position) without gaps; none when it is 0
  ResumePoint point;
  Resume resume;
  std::vector<uint32_t> wanted_states;
  uint64_t left_out_tokens = 0;  // found, but faster to compute, or too few
};

// `mismatches` counts keys with other tokens behind them.
HybridMatch MatchHybrid(const MatchInput& input, const CostModel& cost, uint64_t* mismatches);

}  // namespace cistern::client
