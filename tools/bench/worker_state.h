// The recurrent state of the bench's worker: advanced by the product's fold kernels over the inputs
// that a StateModel gives, as a prefill would.
//
//   Begin ─► (a fetch fills view(), Resumed)? ─► (Advance, Copy)*
//
// Thread   the caller's
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/key.h"
#include "cistern/state.h"
#include "tools/bench/state_model.h"

namespace cistern::tools {

class WorkerState {
 public:
  // `model` outlives this.
  explicit WorkerState(const StateModel& model);

  // A new sequence: the zero state before its first token. The memory of `tokens` is used until
  // the next Begin. Copies of earlier sequences are gone.
  void Begin(std::span<const base::TokenId> tokens);

  // Where a fetch puts a state; Resumed says that one lies there, behind `position` tokens.
  const StateView& view() const { return view_; }
  void Resumed(uint32_t position) { position_ = position; }
  uint32_t position() const { return position_; }

  // "Computes" up to `end`. InvalidArgument: a shape that the kernels do not know.
  absl::Status Advance(uint32_t end);

  // The state as it is now, in memory of its own.
  StatePoint Copy();

  // What tokens [begin, end) fed in, in memory of its own; both 0 gives none.
  LogSource Log(uint32_t begin, uint32_t end);

 private:
  struct Memory {
    std::vector<std::vector<std::byte>> temporal, conv;  // [layer]
    StateView view();
  };

  void AdvanceConv(uint32_t layer, uint32_t end);
  void MakeInputs(uint32_t layer, uint32_t begin, uint32_t end, std::byte* inputs) const;

  const StateModel& model_;
  const base::StateSpec spec_;
  Memory memory_;
  StateView view_;
  std::deque<Memory> copies_;
  std::vector<std::vector<std::byte>> log_;  // [layer][token][inputs]
  std::vector<std::byte> inputs_;
  std::vector<float> scratch_;
  std::span<const base::TokenId> tokens_;
  uint32_t position_ = 0;
};

}  // namespace cistern::tools
