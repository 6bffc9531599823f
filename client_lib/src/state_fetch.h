// Makes the state of Plan::resume() in the worker's memory: copies the checkpoint, folds the logs
// behind it, token by token as they were written.
//
// All or nothing: rows without the state behind them are of no use to a hybrid model.
//
// Thread   one at a time
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "cistern/state.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/fetch_state.h"
#include "client_lib/src/plan_impl.h"
#include "client_lib/src/state_blocks.h"

namespace cistern::client {

// InvalidArgument, naming the field: not a pointer for each state layer; constants missing that
// this family folds with.
absl::Status ValidateStateView(const base::StateSpec& spec, const StateView& state);
absl::Status ValidateStateConstants(const base::StateSpec& spec, const StateConstants& constants);

class StateFetch {
 public:
  // All outlive it; `target` and `constants` are valid.
  StateFetch(PlanImpl* plan, const StateView& target, const StateConstants& constants,
             Counters* counters);

  // Leased all, in mapped memory: Run never waits for the node.
  bool immediate() const;

  // Writes within steps of `fetch`. OK: the state is in place. Cancelled: nobody wants it.
  // Otherwise it is not to be had; leases are given back in any case.
  absl::Status Run(FetchState& fetch);

  uint64_t bytes() const { return bytes_; }          // that came
  absl::Duration moving() const { return moving_; }  // how long that took, without folding
  bool from_disk() const { return from_disk_; }
  // Why Run failed, if it was the device that the state goes to.
  const absl::Status& device_error() const { return device_error_; }

 private:
  absl::Status LeaseAll(FetchState& fetch);
  absl::Status Lease(const std::vector<uint32_t>& wanted, FetchState& fetch, bool* no_room);
  absl::Status Copy(const PlannedState& checkpoint, FetchState& fetch);
  absl::Status Zero(FetchState& fetch);
  absl::Status Fold(const PlannedState& log, FetchState& fetch);
  absl::Status FoldTokens(const PlannedState& log, const std::vector<const std::byte*>& blocks,
                          FetchState& fetch);
  absl::Status CopyTails(const PlannedState& log, StateBlocks* blocks, FetchState& fetch);
  void GiveBack();

  PlanImpl& plan_;
  const base::StateSpec& spec_;
  const StateView& asked_;
  StateView target_;  // where the state is put together: asked_, or its stand-in
  const StateConstants& constants_;
  Counters& counters_;
  std::vector<std::byte> packed_;  // one layer's inputs of a window
  std::vector<float> scratch_;
  uint64_t bytes_ = 0;
  absl::Duration moving_;
  bool from_disk_ = false;
  absl::Status device_error_;
};

}  // namespace cistern::client
