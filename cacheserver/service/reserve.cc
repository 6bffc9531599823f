// Reserve: blocks to write into. Who finds no room waits for demotion and releases, until its call
// must be answered or until nothing is left to wait for.
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cacheserver/service/handlers.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using transport::ReserveOutcome;
using transport::ReserveReply;
using transport::ReserveRequest;

absl::Status CheckHeaders(const Parts& parts, const std::vector<base::ObjectHeader>& headers) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (absl::Status valid = headers[i].Validate(); !valid.ok())
      return absl::InvalidArgumentError(absl::StrCat("header ", i, ": ", valid.message()));
  }
  return parts.store->With([&](Store& store) -> absl::Status {
    for (const base::ObjectHeader& header : headers) {
      if (header.kind == base::ObjectKind::kSegment && store.FindModel(header.model) == nullptr) {
        return absl::FailedPreconditionError(
            absl::StrCat("model ", header.model.ToHex(),
                         " is not known to this node: register it, then try again"));
      }
    }
    return absl::OkStatus();
  });
}

// One Reserve call; one thread at a time works on it.
class ReserveJob {
 public:
  ReserveJob(const Parts& parts, CallPtr call)
      : parts_(parts), call_(std::move(call)), headers_(call_->request<ReserveRequest>().headers) {
    reply_.results.resize(headers_.size());
    for (size_t i = 0; i < headers_.size(); ++i) waiting_.push_back(i);
  }

  // Returns whether the call has been answered. The first try does not ask for room: the parked
  // one, which follows, does.
  bool Try(bool last, bool want_room) {
    bool hopeless = false;
    const absl::Status status = parts_.store->With([&](Store& store) {
      absl::Status tried = TryWaiting(store);
      hopeless = reserved_ > 0 && !waiting_.empty() && !DemotionMayHelp(store);
      return tried;
    });
    if (!status.ok()) {
      call_->Fail(status);
      return true;
    }
    // What this call has reserved already may be just what the rest of it waits for.
    if (waiting_.empty() || last || hopeless) {
      Counters::Bump(parts_.counters->no_room, waiting_.size());
      call_->Answer(std::move(reply_));
      return true;
    }
    if (want_room) parts_.WantRoom();
    return false;
  }

 private:
  absl::Status TryWaiting(Store& store) {
    std::vector<size_t> still;
    for (const size_t i : waiting_) {
      absl::StatusOr<storage::Reservation> reservation =
          parts_.sessions->Reserve(store, call_->session(), headers_[i], parts_.Now());
      if (absl::IsResourceExhausted(reservation.status())) {  // the session's limit
        Counters::Bump(parts_.counters->limited);
        continue;  // kNoRoom, at once
      }
      if (!reservation.ok()) {
        AbortAll(store);
        return reservation.status();
      }
      reply_.results[i].outcome = static_cast<ReserveOutcome>(reservation->outcome);
      reply_.results[i].reservation = reservation->id;
      if (reservation->outcome == storage::Reservation::Outcome::kReserved) ++reserved_;
      if (reservation->outcome == storage::Reservation::Outcome::kNoRoom) still.push_back(i);
    }
    waiting_ = std::move(still);
    return absl::OkStatus();
  }

  bool DemotionMayHelp(Store& store) const {
    return parts_.demoter != nullptr && store.Stats().dirty_bytes > 0;
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
  ReserveReply reply_;
  std::vector<size_t> waiting_;  // indexes of headers that found no room
  size_t reserved_ = 0;
};

}  // namespace

void HandleReserve(const Parts& parts, const CallPtr& call) {
  if (absl::Status fine = CheckHeaders(parts, call->request<ReserveRequest>().headers); !fine.ok())
    return call->Fail(fine);
  auto job = std::make_shared<ReserveJob>(parts, call);
  if (job->Try(/*last=*/false, /*want_room=*/false)) return;
  Counters::Bump(parts.counters->parked);
  const auto again = [job](bool last) { return job->Try(last, /*want_room=*/true); };
  if (!parts.room->Park(call->answer_by(), again)) again(/*last=*/true);
}

}  // namespace cistern::cacheserver
