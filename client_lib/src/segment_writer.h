// Takes rows of new segments out of the worker's cache and sends them: gather into staging buffers,
// Write, a few calls in flight.
//
// Thread   one at a time
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/model_spec.h"
#include "cistern/paged_cache.h"
#include "client_lib/src/pending_call.h"
#include "client_lib/src/publish_plan.h"
#include "client_lib/src/session.h"
#include "client_lib/src/transfer_units.h"
#include "kernels/rows.h"

namespace cistern::client {

struct Reserved {
  NewSegment segment;
  transport::ReservationId id = 0;
  absl::Status written;  // of all its layers
};

class SegmentWriter {
 public:
  // All outlive the writer.
  SegmentWriter(const base::ModelSpec& spec, const RowSource& rows, Session* session,
                absl::Time deadline)
      : spec_(spec), rows_(rows), session_(*session), deadline_(deadline) {}

  // InvalidArgument: rows that do not cover `segments`.
  absl::Status Validate(std::span<const NewSegment> segments) const;

  // All layers of each; sets `written`.
  void Write(std::vector<Reserved>* batch);

 private:
  struct Flight {
    TransferUnit unit;
    Staging::Lent buffer;
    std::shared_ptr<PendingCall> call;
  };

  bool StartNext(const TransferUnit& unit, std::vector<Reserved>* batch);
  void FinishOldest(std::vector<Reserved>* batch);
  absl::Status GatherUnit(const TransferUnit& unit, const std::vector<Reserved>& batch,
                          std::byte* payload) const;
  absl::Status GatherSegment(const NewSegment& segment, kernels::MutableSegmentRows target) const;
  static void Fail(const TransferUnit& unit, const absl::Status& why, std::vector<Reserved>* batch);

  const base::ModelSpec& spec_;
  const RowSource& rows_;
  Session& session_;
  const absl::Time deadline_;
  std::vector<uint32_t> tokens_;  // of the batch
  std::deque<Flight> flying_;
};

}  // namespace cistern::client
