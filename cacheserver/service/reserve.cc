// Reserve: blocks to write into. Who finds no room waits as long as demotion to disk may make some,
// until its call must be answered. When there is nothing to demote, only what others release helps:
// that is waited for briefly (kReleasePatience), so that a worker whose node is full of leased
// objects goes on without it.
//
// A payload that came along is written when everything was reserved, and not looked at otherwise.
#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cacheserver/service/handlers.h"
#include "cacheserver/service/write_job.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using transport::ReserveOutcome;
using transport::ReserveReply;
using transport::ReserveRequest;

constexpr absl::Duration kReleasePatience = absl::Milliseconds(100);
// Of payloads that wait with their calls: they may lie in this process.
constexpr uint64_t kMaxParkedBytes = 256 << 20;

absl::Status CheckPayload(const ReserveRequest& request, uint64_t payload_bytes) {
  if (request.payload_headers > request.headers.size() ||
      (request.payload_headers > 0) != (payload_bytes > 0)) {
    return absl::InvalidArgumentError(absl::StrCat("a payload of ", payload_bytes, " bytes for ",
                                                   request.payload_headers, " of ",
                                                   request.headers.size(), " headers"));
  }
  return absl::OkStatus();
}

absl::Status CheckHeaders(const Parts& parts, const std::vector<base::ObjectHeader>& headers) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (absl::Status valid = headers[i].Validate(); !valid.ok())
      return absl::InvalidArgumentError(absl::StrCat("header ", i, ": ", valid.message()));
  }
  return parts.store->With([&](Store& store) -> absl::Status {
    for (const base::ObjectHeader& header : headers) {
      if (header.kind != base::ObjectKind::kBlob && store.FindModel(header.model) == nullptr) {
        return absl::FailedPreconditionError(
            absl::StrCat("model ", header.model.ToHex(),
                         " is not known to this node: register it, then try again"));
      }
    }
    return absl::OkStatus();
  });
}

// What comes along has the size of its rows, before anything waits with it.
absl::Status CheckPayloadSize(const Parts& parts, const ReserveRequest& request,
                              uint64_t payload_bytes) {
  if (request.payload_headers == 0) return absl::OkStatus();
  const LayerRange layers{0, request.layer_end};
  std::vector<PlacedObject> objects(request.payload_headers);
  CISTERN_RETURN_IF_ERROR(parts.store->With([&](Store& store) -> absl::Status {
    for (size_t i = 0; i < objects.size(); ++i) {
      CISTERN_ASSIGN_OR_RETURN(objects[i].shape,
                               ShapeOf(store, request.headers[i], parts.blob_block_bytes));
    }
    return absl::OkStatus();
  }));
  CISTERN_RETURN_IF_ERROR(CheckLayerRange(layers, objects));
  const uint64_t bytes = PayloadBytes(layers, objects);
  if (bytes == payload_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a payload of ", payload_bytes, " bytes for rows of ", bytes));
}

// One Reserve call; one thread at a time works on it.
class ReserveJob : public std::enable_shared_from_this<ReserveJob> {
 public:
  ReserveJob(const Parts& parts, CallPtr call)
      : parts_(parts),
        call_(std::move(call)),
        headers_(call_->request<ReserveRequest>().headers),
        patient_until_(parts.Now() + kReleasePatience) {
    reply_.results.resize(headers_.size());
    for (size_t i = 0; i < headers_.size(); ++i) waiting_.push_back(i);
  }

  ~ReserveJob() { Bytes().fetch_sub(parked_bytes_, std::memory_order_relaxed); }
  ReserveJob(const ReserveJob&) = delete;
  ReserveJob& operator=(const ReserveJob&) = delete;

  // Whether the call's payload may wait with it.
  bool TakeParkedBytes() {
    parked_bytes_ = call_->payload_bytes();
    return Bytes().fetch_add(parked_bytes_, std::memory_order_relaxed) + parked_bytes_ <=
           kMaxParkedBytes;
  }

  // Returns whether the call has been answered. The first try does not ask for room: the parked
  // one, which follows, does.
  bool Try(bool last, bool want_room) {
    const absl::StatusOr<bool> hopeless = TryAndJudge();
    if (!hopeless.ok()) {
      parts_.store->With([&](Store& store) { AbortAll(store); });
      call_->Fail(hopeless.status());
      return true;
    }
    if (waiting_.empty() || last || *hopeless) {
      Counters::Bump(parts_.counters->no_room, waiting_.size());
      Finish();
      return true;
    }
    if (want_room) parts_.WantRoom();
    return false;
  }

  // When to stop waiting, as things are.
  absl::Time give_up() const {
    const bool demotion = parts_.store->With([&](Store& store) { return DemotionMayHelp(store); });
    return demotion ? call_->answer_by() : std::min(call_->answer_by(), patient_until_);
  }

 private:
  std::atomic<uint64_t>& Bytes() const { return parts_.counters->parked_bytes; }

  // Everything is settled: the payload, if it may go in, then the answer.
  void Finish() {
    const auto& request = call_->request<ReserveRequest>();
    if (request.payload_headers == 0 || reserved_ < headers_.size())
      return call_->Answer(std::move(reply_));
    WriteOrder order{
        .layers = {0, request.layer_end}, .checksum = request.checksum, .commit = request.commit};
    order.reservations.reserve(request.payload_headers);
    for (uint32_t i = 0; i < request.payload_headers; ++i)
      order.reservations.push_back(reply_.results[i].reservation);
    StartWrite(parts_, call_, std::move(order),
               [self = shared_from_this()](const absl::Status& status, uint32_t committed) {
                 self->Written(status, committed);
               });
  }

  // What may go better a second time is left to the worker, who holds the reservations.
  void Written(const absl::Status& status, uint32_t committed) {
    reply_.written = status.ok();
    reply_.committed = committed;
    if (status.ok() || absl::IsDataLoss(status) || absl::IsResourceExhausted(status))
      return call_->Answer(std::move(reply_));
    parts_.store->With([&](Store& store) { AbortAll(store); });
    parts_.room->RoomCame();
    call_->Fail(status);
  }

  // Tries, and says whether nothing but a release can help what still waits. Then it has tried
  // after it had seen that no demotion is to come: one that ended in between has made room.
  absl::StatusOr<bool> TryAndJudge() {
    CISTERN_RETURN_IF_ERROR(TryWaiting());
    // What this call has reserved already may be just what the rest of it waits for.
    if (waiting_.empty() || (reserved_ == 0 && parts_.Now() < patient_until_)) return false;
    if (parts_.store->With([&](Store& store) { return DemotionMayHelp(store); })) return false;
    CISTERN_RETURN_IF_ERROR(TryWaiting());
    return !waiting_.empty();
  }

  // The lock is taken for one header at a time: making room for it may move blocks.
  absl::Status TryWaiting() {
    std::vector<size_t> still;
    for (const size_t i : waiting_) {
      absl::StatusOr<storage::Reservation> reservation = parts_.store->With([&](Store& store) {
        return parts_.sessions->Reserve(store, call_->session(), headers_[i], parts_.Now());
      });
      if (absl::IsResourceExhausted(reservation.status())) {  // the session's limit
        Counters::Bump(parts_.counters->limited);
        continue;  // kNoRoom, at once
      }
      if (!reservation.ok()) return reservation.status();
      reply_.results[i].outcome = static_cast<ReserveOutcome>(reservation->outcome);
      reply_.results[i].reservation = reservation->id;
      if (reservation->outcome == storage::Reservation::Outcome::kReserved) ++reserved_;
      if (reservation->outcome == storage::Reservation::Outcome::kNoRoom) still.push_back(i);
    }
    waiting_ = std::move(still);
    return absl::OkStatus();
  }

  bool DemotionMayHelp(Store& store) const {
    return parts_.demoter != nullptr && std::ranges::any_of(waiting_, [&](size_t i) {
             return store.DemotionMayHelp(headers_[i]);
           });
  }

  void AbortAll(Store& store) {
    for (const transport::ReserveResult& result : reply_.results) {
      if (result.outcome == ReserveOutcome::kReserved)
        parts_.sessions->Abort(store, call_->session(), result.reservation).IgnoreError();
    }
  }

  const Parts& parts_;
  const CallPtr call_;
  const std::vector<base::ObjectHeader> headers_;
  const absl::Time patient_until_;
  ReserveReply reply_;
  std::vector<size_t> waiting_;  // indexes of headers that found no room
  size_t reserved_ = 0;
  uint64_t parked_bytes_ = 0;
};

}  // namespace

void HandleReserve(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<ReserveRequest>();
  absl::Status fine = CheckPayload(request, call->payload_bytes());
  if (fine.ok()) fine = CheckHeaders(parts, request.headers);
  if (fine.ok()) fine = CheckPayloadSize(parts, request, call->payload_bytes());
  if (!fine.ok()) return call->Fail(fine);
  auto job = std::make_shared<ReserveJob>(parts, call);
  if (job->Try(/*last=*/false, /*want_room=*/false)) return;
  Counters::Bump(parts.counters->parked);
  const auto again = [job](bool last) { return job->Try(last, /*want_room=*/true); };
  if (!job->TakeParkedBytes() || !parts.room->Park(job->give_up(), again)) again(/*last=*/true);
}

}  // namespace cistern::cacheserver
