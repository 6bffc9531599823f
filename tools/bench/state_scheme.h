// Which states of a call are stored, and whether as logs.
//
//   multiples  a checkpoint at every 512th token
//   ends       a checkpoint at the end of every call
//   branches   also one where a prompt leaves a stored path (Plan::wanted_states)
//   log        as branches, but a log where that is smaller than a checkpoint and the chain of logs
//              has fewer tokens than a state's bytes are worth
//
// Thread   any; pure
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/state_spec.h"
#include "cistern/state.h"

namespace cistern::tools {

enum class StateScheme : uint8_t { kMultiples, kEnds, kBranches, kLog };

inline constexpr uint32_t kMultiple = 512;  // tokens, of kMultiples

absl::string_view ToString(StateScheme scheme);
// One of the names above, or "all". InvalidArgument lists them.
absl::StatusOr<std::vector<StateScheme>> ParseStateSchemes(absl::string_view text);

// Where states of a sequence are stored: ascending, behind `resumed` tokens and up to `end`, the
// sequence's.
std::vector<uint32_t> StatePoints(StateScheme scheme, uint32_t resumed,
                                  std::span<const uint32_t> wanted, uint32_t end);

// Logs of at most as many tokens are kept: 0 = none.
uint32_t LongestLog(StateScheme scheme, const base::StateSpec& spec);

// The tokens whose inputs logs may need: from the first gap of at most `longest` to the last.
struct LogRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};
LogRange LogRangeOf(uint32_t resumed, std::span<const uint32_t> points, uint32_t longest);

}  // namespace cistern::tools
