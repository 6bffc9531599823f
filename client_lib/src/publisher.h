// Shares rows: reserve, write, commit, a batch of chunks at a time; then the links.
//
// Thread   any; keeps no state
// Errors   InvalidArgument: a wrong call, nothing is sent. Unavailable, DeadlineExceeded: what was
// committed before stays;
//          the node gives up the rest with the session, or is told to. All other trouble drops
//          single segments
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

struct PublishRequest {
  std::shared_ptr<const Model> model;
  std::span<const base::TokenId> tokens;
  std::span<const uint32_t> part_boundaries;
  const FetchResult& fetched;
  TokenRange range;
  const RowSource& rows;
  base::RotaryArithmetic arithmetic = base::RotaryArithmetic::kFp32Table;
  absl::Time deadline;
};

absl::StatusOr<PublishReport> PublishRows(const PublishRequest& request, Session& session,
                                          Counters* counters);

}  // namespace cistern::client
