// What the state behind a token of a sequence is: every state that a replay resumes is compared
// with it.
//
//   Begin(tokens) (Check | Keep)*
//
// States in float64 are kept at positions that the caller chooses, by a hash of everything before
// them, and the next question goes on from the deepest one on its path: to verify a long trace
// costs about one step of the recurrence for each token that was not there before.
//
// Thread   the caller's
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "base/key.h"
#include "cistern/state.h"
#include "tools/bench/exact_state.h"
#include "tools/bench/state_model.h"

namespace cistern::tools {

struct StateCheck {
  double relative_l2 = 0;  // of the temporal states, the worst layer's
  bool conv_equal = true;  // byte for byte, all layers; before the first token there are zeros
};

class StateOracle {
 public:
  // Kept states take at most `max_bytes`, but there is room for one. `model` outlives this.
  StateOracle(const StateModel& model, uint64_t max_bytes);

  // The sequence that the next questions are about; the memory is not needed afterwards.
  void Begin(std::span<const base::TokenId> tokens);

  // `state` against the one behind the first `position` tokens of the sequence.
  StateCheck Check(uint32_t position, const StateView& state);

  // Keeps the state there. What was asked for longest ago goes when there is no room.
  void Keep(uint32_t position);

  uint64_t steps() const { return steps_; }  // tokens that the recurrence was advanced by, so far
  uint64_t kept() const { return kept_.size(); }

 private:
  struct Kept {
    uint64_t prefix;
    std::vector<std::vector<double>> layers;
  };

  void Seek(uint32_t position);
  void Advance(uint32_t begin, uint32_t end);
  bool ConvEqual(uint32_t position, const StateView& state) const;

  const StateModel& model_;
  const uint64_t max_kept_;
  std::vector<base::TokenId> tokens_;
  std::vector<uint64_t> prefixes_;   // [tokens + 1]
  std::vector<ExactState> current_;  // [layer]
  uint64_t current_prefix_ = 0;
  uint32_t current_position_ = 0;
  std::list<Kept> kept_;  // the one that was asked for last first
  absl::flat_hash_map<uint64_t, std::list<Kept>::iterator> by_prefix_;
  uint64_t steps_ = 0;
};

}  // namespace cistern::tools
