// Shares states: one object after the other, each reserved, written block by block and committed
// with its last block.
//
// Errors   InvalidArgument: a wrong call, nothing is sent. Unavailable, DeadlineExceeded: what was
//          committed before stays. Anything else drops single states. A log whose beginning the
//          node no longer has becomes a checkpoint, where there is one
// Thread   any; keeps no state
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "cistern/client.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/session.h"

namespace cistern::client {

struct StatePublishRequest {
  std::shared_ptr<const Model> model;
  std::span<const base::TokenId> tokens;
  std::span<const uint32_t> part_boundaries;
  const FetchResult& fetched;
  const StateSource& source;
  const StatePolicy& policy;
  absl::Duration deadline;
};

// InvalidArgument: the buffers that bytes go through (ClientOptions::max_staging_bytes) have no
// room for one block of the model's state.
absl::Status CheckStaging(const base::StateSpec& spec, const Session& session);

absl::StatusOr<StateReport> PublishStates(const StatePublishRequest& request, Session& session,
                                          Counters* counters);

}  // namespace cistern::client
