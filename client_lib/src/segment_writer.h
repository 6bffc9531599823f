// Takes rows of new segments out of the worker's cache and sends them: gather into staging buffers,
// Write, a few calls in flight. Each write asks the node to commit what it completes.
//
//   (Open | GatherMore)* ─► reservations are known ─► Write ─► Drain
//
// Where the node follows (Link::CallAhead), a call goes out first and its rows are gathered then,
// so that the node copies them while they come. Elsewhere a unit is gathered whole before it is
// sent.
//
// Thread   one at a time
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/model_spec.h"
#include "cistern/paged_cache.h"
#include "client_lib/src/pending_call.h"
#include "client_lib/src/publish_plan.h"
#include "client_lib/src/session.h"
#include "client_lib/src/transfer_units.h"
#include "client_lib/src/unit_gather.h"
#include "transport/rpc/lookout.h"

namespace cistern::client {

// Of a call that brings rows. What a node follows goes in large ones, through little memory that
// stays in a cache: a call costs, and the node is never far behind. Otherwise, and layer by layer,
// units are small: the node copies one while the next is gathered (tools/bench/transfer/README.md).
inline constexpr uint64_t kPublishUnitBytes = 1 << 20;
inline constexpr uint64_t kFollowedUnitBytes = 16 << 20;
inline constexpr uint64_t kFollowedMemoryBytes = 1 << 20;
inline constexpr uint32_t kPublishUnitsInFlight = 4;

struct Reserved {
  NewSegment segment;
  transport::ReservationId id = 0;  // 0: not reserved yet
  absl::Status written;             // of all its layers
};

// Segments that are written together, in layer order.
struct WriteBatch {
  WriteBatch(const base::ModelSpec& spec, std::vector<Reserved> all, uint64_t unit_bytes);

  // A unit that waits for its reservations, gathered in part or whole.
  struct Gathered {
    TransferUnit unit;
    // Its user and its call have it, whoever ends last.
    std::shared_ptr<Staging::Lent> buffer;
    UnitGather rows;
    uint64_t checksum = 0;  // once it is whole, where bytes cross a network
    bool sent = false;      // once
  };

  std::vector<Reserved> segments;
  std::vector<uint32_t> tokens;
  std::vector<TransferUnit> units;
  size_t next = 0;                // of units: what is opened next
  std::deque<Gathered> gathered;  // all but the last are whole
  uint32_t in_flight = 0;
  uint64_t committed = 0;  // segments, as the node says
};

class SegmentWriter {
 public:
  // All outlive the writer.
  SegmentWriter(const base::ModelSpec& spec, const RowSource& rows, Session* session)
      : spec_(spec), rows_(rows), session_(*session) {
    lookout_.Begin(true);  // what a node follows it takes soon
    lookout_.Came();
  }
  ~SegmentWriter() { Drain(); }
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  // No call goes on for longer.
  void set_deadline(absl::Time deadline) { deadline_ = deadline; }

  // InvalidArgument: rows that do not cover `segments`.
  absl::Status Validate(std::span<const NewSegment> segments) const;

  // For WriteBatch. `whole`: the rows are all there.
  uint64_t UnitBytes(bool whole) const;

  // Takes a buffer for the next unit, if its layers lie below `layers` and one is free.
  bool Open(WriteBatch* batch, uint32_t layers);
  // Some more rows out of the cache, of the unit that is open or else of the next one. False: there
  // are none, or there is no room.
  bool GatherMore(WriteBatch* batch, uint32_t layers);
  // All of the unit's, where they must be there before the call.
  absl::Status Prepare(WriteBatch::Gathered* unit) const;

  // Starts a call that brings `unit`, which has been prepared: `start` is given whether the call
  // goes ahead of it. Then gathers what is left of it, while the call lasts.
  using Start = absl::FunctionRef<std::shared_ptr<PendingCall>(
      std::unique_ptr<transport::PayloadFill>* fill)>;
  std::shared_ptr<PendingCall> StartWith(WriteBatch::Gathered* unit, Start start);

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

  bool followed() const;
  // All that is left, as far as the call lasts.
  void GatherFollowed(UnitGather* rows, transport::PayloadFill& fill, const PendingCall& call);
  // False: the call has ended.
  bool AwaitRoom(const UnitGather& rows, transport::PayloadFill& fill, const PendingCall& call);
  void Send(WriteBatch* batch);
  void FinishOldest();
  absl::Status StillWorthIt() const;
  // `may_wait`: for a buffer, if this holds none.
  absl::Status OpenNext(WriteBatch* batch, bool may_wait);
  static void Fail(const TransferUnit& unit, const absl::Status& why, WriteBatch* batch);

  const base::ModelSpec& spec_;
  const RowSource& rows_;
  Session& session_;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::deque<Flight> flying_;
  transport::Lookout lookout_{std::chrono::microseconds(50)};  // for room
};

}  // namespace cistern::client
