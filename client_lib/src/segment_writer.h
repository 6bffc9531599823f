// Takes rows of new segments out of the worker's cache and sends them: gather into staging buffers,
// Write, a few calls in flight. Each write asks the node to commit what it completes.
//
//   (GatherNext)* ─► reservations are known ─► Write ─► Drain
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

// Small enough that the node finds what was gathered in a cache still, and copies one unit while
// the next is gathered (tools/bench/transfer/README.md).
inline constexpr uint64_t kPublishUnitBytes = 1 << 20;
inline constexpr uint32_t kPublishUnitsInFlight = 4;

struct Reserved {
  NewSegment segment;
  transport::ReservationId id = 0;  // 0: not reserved yet
  absl::Status written;             // of all its layers
};

// Segments that are written together, in layer order.
struct WriteBatch {
  WriteBatch(const base::ModelSpec& spec, std::vector<Reserved> all);

  // A unit that waits for its reservations.
  struct Gathered {
    TransferUnit unit;
    Staging::Lent buffer;
    transport::MutableSlice payload;
    uint64_t checksum = 0;
  };

  std::vector<Reserved> segments;
  std::vector<uint32_t> tokens;
  std::vector<TransferUnit> units;
  size_t next = 0;  // of units: what is gathered next
  std::deque<Gathered> gathered;
  uint32_t in_flight = 0;
  uint64_t committed = 0;  // segments, as the node says
};

class SegmentWriter {
 public:
  // All outlive the writer.
  SegmentWriter(const base::ModelSpec& spec, const RowSource& rows, Session* session)
      : spec_(spec), rows_(rows), session_(*session) {}
  ~SegmentWriter() { Drain(); }
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  // No call goes on for longer.
  void set_deadline(absl::Time deadline) { deadline_ = deadline; }

  // InvalidArgument: rows that do not cover `segments`.
  absl::Status Validate(std::span<const NewSegment> segments) const;

  // One more unit out of the cache, if its layers lie below `layers` and a buffer is free.
  bool GatherNext(WriteBatch* batch, uint32_t layers);

  // All units below `layers`, to reservations that are known. What goes wrong is in
  // Reserved::written. The batch stays where it is until Drain.
  void Write(WriteBatch* batch, uint32_t layers);

  // Waits for every call in flight.
  void Drain();

 private:
  struct Flight {
    WriteBatch* batch;
    TransferUnit unit;
    std::shared_ptr<PendingCall> call;
  };

  void Send(WriteBatch* batch);
  void FinishOldest();
  absl::Status StillWorthIt() const;
  // `may_wait`: for a buffer, if this holds none.
  absl::Status Gather(WriteBatch* batch, bool may_wait);
  absl::Status GatherUnit(const TransferUnit& unit, const WriteBatch& batch,
                          std::byte* payload) const;
  absl::Status GatherSegment(const NewSegment& segment, kernels::MutableSegmentRows target) const;
  static void Fail(const TransferUnit& unit, const absl::Status& why, WriteBatch* batch);

  const base::ModelSpec& spec_;
  const RowSource& rows_;
  Session& session_;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::deque<Flight> flying_;
};

}  // namespace cistern::client
