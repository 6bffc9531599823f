// Shares rows: decides which (publish_plan.h), then sends them (publish_run.h), then the links.
//
// Errors   InvalidArgument: a wrong call, nothing is sent. Unavailable, DeadlineExceeded: what was
//          committed before stays; the node gives up the rest with the session, or is told to. All
//          other trouble drops single segments
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "cistern/client.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/publish_run.h"
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
  absl::Duration deadline = {};  // of all its calls together; of a stream's, for each of its own
};

// Thread   any; keeps no state
absl::StatusOr<PublishReport> PublishRows(const PublishRequest& request, Session& session,
                                          Counters* counters);

// A publish that goes along with the computation.
//
// Thread   one at a time
class PublishStream {
 public:
  // Reserves. `counters` outlive the stream.
  static absl::StatusOr<std::unique_ptr<PublishStream>> Start(const PublishRequest& request,
                                                              std::shared_ptr<Session> session,
                                                              Counters* counters);

  absl::Status LayerDone(uint32_t layer);
  absl::StatusOr<PublishReport> Finish();

 private:
  PublishStream(const PublishRequest& request, std::shared_ptr<Session> session,
                Counters* counters);

  const std::shared_ptr<const Model> model_;
  const RowSource rows_;
  const std::shared_ptr<Session> session_;
  const absl::Duration deadline_;
  const uint64_t incarnation_;  // of the links' names
  std::vector<transport::LinkItem> links_;
  uint32_t layers_ = 0;  // done
  PublishRun run_;
};

}  // namespace cistern::client
