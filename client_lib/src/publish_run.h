// One publish on its way: reserve, write, commit.
//
//   Publish         a batch of segments at a time, each whole. The first rows of a batch ride on
//                   its Reserve; while the node reserves, more are gathered, and while it writes
//                   one batch, the next is reserved for
//   Begin (Layers)* Finish    all segments reserved for at once, then layer by layer
//
// A commit rides on every write, so that the write that completes a segment makes it visible.
//
// Thread   one at a time
// Errors   Unavailable, DeadlineExceeded: what was committed before stays; the rest is given up.
//          All other trouble drops single segments
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "cistern/client.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/prompt.h"
#include "client_lib/src/publish_plan.h"
#include "client_lib/src/segment_writer.h"
#include "client_lib/src/session.h"

namespace cistern::client {

class PublishRun {
 public:
  // All outlive the run.
  PublishRun(const Model& model, const RowSource& rows, base::RotaryArithmetic arithmetic,
             Session* session, Counters* counters)
      : model_(model),
        arithmetic_(arithmetic),
        session_(*session),
        counters_(*counters),
        writer_(model.spec(), rows, session) {}
  ~PublishRun() { GiveUp(); }
  PublishRun(const PublishRun&) = delete;
  PublishRun& operator=(const PublishRun&) = delete;

  void set_deadline(absl::Time deadline);

  // InvalidArgument: rows that do not cover `segments`.
  absl::Status Validate(std::span<const NewSegment> segments) const {
    return writer_.Validate(segments);
  }

  absl::Status Publish(const Prompt& prompt, std::span<const NewSegment> segments);

  absl::Status Begin(const Prompt& prompt, std::span<const NewSegment> segments);
  void Layers(uint32_t layers);  // the rows of all below are there
  absl::Status Finish();

  absl::Status Link(const std::vector<transport::LinkItem>& links, uint64_t incarnation);

  const PublishReport& report() const { return report_; }

 private:
  using BatchPtr = std::unique_ptr<WriteBatch>;

  // Each batch through reserve and write; what finds no room is added to `no_room`.
  absl::Status Batches(const Prompt& prompt, std::span<const NewSegment> segments,
                       std::vector<NewSegment>* no_room);
  absl::Status ReserveAll(const Prompt& prompt, std::span<const NewSegment> segments,
                          std::vector<Reserved>* reserved, std::vector<NewSegment>* no_room);
  size_t BatchSize(std::span<const NewSegment> segments) const;
  uint64_t SegmentBytes(const NewSegment& segment) const;
  base::ObjectHeader HeaderOf(const Prompt& prompt, const NewSegment& segment) const;

  // `ahead`: rows may be gathered, and the first ones ride along.
  absl::StatusOr<transport::ReserveReply> Reserve(const Prompt& prompt, WriteBatch* batch,
                                                  bool ahead);
  // `first`: the rows that ride along; null: none.
  std::shared_ptr<PendingCall> StartReserve(const transport::ReserveRequest& message,
                                            WriteBatch::Gathered* first);
  // `whole`: written at once, not layer by layer.
  BatchPtr NewBatch(std::vector<Reserved> segments, bool whole) const;
  // The batch as it was reserved; what was not is counted, or added to `no_room`. Nothing is left:
  // null.
  BatchPtr Sort(const transport::ReserveReply& reply, BatchPtr batch, bool whole,
                std::vector<NewSegment>* no_room);

  absl::Status SettleWritten();                  // batches with nothing in flight
  absl::Status SettleAll();                      // after they have ended
  absl::Status Settle(const WriteBatch& batch);  // counts what was committed, gives the rest up
  void GiveUp();
  void Abort(std::vector<transport::ReservationId> reservations);
  transport::CallOptions Options() const;

  const Model& model_;
  const base::RotaryArithmetic arithmetic_;
  Session& session_;
  Counters& counters_;
  absl::Time deadline_ = absl::InfiniteFuture();
  PublishReport report_;
  std::deque<BatchPtr> open_;  // written, not settled
  SegmentWriter writer_;       // goes first
};

}  // namespace cistern::client
