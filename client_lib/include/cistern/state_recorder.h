// A log of a sequence's recurrent state, written while its tokens are computed.
//
//   (Append* ─► Flush)*
//
// Append takes what the state layers were fed with, one token or many at a time. Flush makes
// everything up to now resumable: it stores the tokens since the last flush as a log, or, when the
// chain of logs would be longer than the policy allows, folds them into the recorder's own copy of
// the state and stores that as a checkpoint. What was flushed stays when the worker dies; what was
// not is computed again by whoever comes next.
//
// Memory   one state, and the inputs of at most max_chain_tokens (more between two flushes)
// Thread   one at a time
// Errors   InvalidArgument: fix the call; nothing was taken. Flush: Unavailable, DeadlineExceeded:
//          no node; what could not be stored goes with the next flush
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "cistern/client.h"
#include "cistern/state.h"

namespace cistern {

class StateRecorder {
 public:
  struct Options {
    StatePolicy policy;
    // As for MakePlan; parts that begin later are not known to the recorder.
    std::vector<uint32_t> part_boundaries;
  };

  // From a state that the worker has: `position` tokens of the sequence are behind it (`tokens`:
  // these). 0: from the beginning, with zero state; `state` is then not looked at. `fetched`: what
  // the sequence was resumed from; a state elsewhere is stored with the first flush. The
  // client and what `constants` points to outlive the recorder.
  static absl::StatusOr<std::unique_ptr<StateRecorder>> Create(
      Client* client, const ModelSpec& model, std::span<const TokenId> tokens,
      const FetchResult& fetched, const StateView& state, const StateConstants& constants,
      Options options);
  ~StateRecorder();
  StateRecorder(const StateRecorder&) = delete;
  StateRecorder& operator=(const StateRecorder&) = delete;

  // `inputs`: of these tokens, conv_rows included if the model has a convolution; begin and end are
  // positions in the sequence. Copied.
  absl::Status Append(std::span<const TokenId> tokens, const LogSource& inputs);

  absl::StatusOr<StateReport> Flush();

  uint32_t position() const;          // tokens so far
  uint32_t flushed_position() const;  // the last one that the node has
  uint32_t chain_tokens() const;      // from the last checkpoint to there

 private:
  class Impl;
  explicit StateRecorder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cistern
