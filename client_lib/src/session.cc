#include "client_lib/src/session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "transport/checksum.h"

namespace cistern::client {

absl::Duration Session::CallDeadline(absl::Time until) const {
  return std::max(absl::Milliseconds(1), std::min(until - absl::Now(), call_deadline_));
}

uint64_t Session::Checksum(const std::vector<transport::Slice>& payload) const {
  if (mapped() || link_->checks(transport::TotalBytes(payload))) return 0;
  return transport::PayloadChecksum(payload);
}

absl::Status Session::Introduce(const Model& model, absl::Time until) {
  {
    base::MutexLock lock(&mutex_);
    if (introduced_.count(model.fingerprint()) != 0) return absl::OkStatus();
  }
  transport::CallOptions options;
  options.deadline = CallDeadline(until);
  auto reply = CallNow<transport::RegisterModelReply>(
      *link_, transport::RegisterModelRequest{model.spec().ToJson()}, std::move(options));
  if (!reply.ok()) return reply.status();
  if (reply->fingerprint != model.fingerprint()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the node calls model '", model.spec().name, "' ", reply->fingerprint.ToHex(), ", this ",
        "client ", model.fingerprint().ToHex(), ": their versions do not fit"));
  }
  base::MutexLock lock(&mutex_);
  introduced_.insert(model.fingerprint());
  return absl::OkStatus();
}

void Session::Forget(const Model& model) {
  base::MutexLock lock(&mutex_);
  introduced_.erase(model.fingerprint());
}

void Session::Release(std::vector<transport::LeaseId> leases) {
  const std::vector<transport::LeaseId> late = late_->TakeLeases();
  leases.insert(leases.end(), late.begin(), late.end());
  SendReleases(leases);
  SendAborts(late_->TakeReservations());
}

std::vector<transport::LeaseId> Session::TakeLate() {
  SendAborts(late_->TakeReservations());
  return late_->TakeLeases(transport::kMaxItems);
}

void Session::Abort(std::vector<transport::ReservationId> reservations) {
  const std::vector<transport::ReservationId> late = late_->TakeReservations();
  reservations.insert(reservations.end(), late.begin(), late.end());
  SendAborts(reservations);
}

namespace {

// As many calls as the items need. What the node refuses for now is tried again later; on any other
// error the link is dead or the node knows nothing of them.
template <typename RequestType, typename Id>
void GiveBack(transport::Link& link, absl::Duration deadline, const std::vector<Id>& ids,
              const std::shared_ptr<Session::LateBook>& book) {
  if (!link.alive()) return;  // the node has released what was this session's
  for (size_t from = 0; from < ids.size(); from += transport::kMaxItems) {
    const size_t count = std::min<size_t>(transport::kMaxItems, ids.size() - from);
    RequestType request{{ids.begin() + from, ids.begin() + from + count}};
    transport::CallOptions options;
    options.deadline = deadline;
    link.Call(request, std::move(options),
              [request, book](const absl::StatusOr<transport::Reply>& reply) {
                const bool refused =
                    reply.ok() ? std::holds_alternative<transport::ErrorReply>(*reply) &&
                                     absl::IsResourceExhausted(
                                         std::get<transport::ErrorReply>(*reply).ToStatus())
                               : absl::IsResourceExhausted(reply.status());
                if (refused) book->Add(request);
              });
  }
}

}  // namespace

void Session::SendReleases(const std::vector<transport::LeaseId>& leases) {
  GiveBack<transport::ReleaseRequest>(*link_, call_deadline_, leases, late_);
}

void Session::SendAborts(const std::vector<transport::ReservationId>& reservations) {
  GiveBack<transport::AbortRequest>(*link_, call_deadline_, reservations, late_);
}

void Session::LateBook::Add(const transport::Reply& reply) {
  base::MutexLock lock(&mutex_);
  if (const auto* found = std::get_if<transport::FindReply>(&reply)) {
    for (const transport::ObjectRef& object : found->objects) {
      if (object.lease != 0) leases_.push_back(object.lease);
    }
  } else if (const auto* leased = std::get_if<transport::LeaseReply>(&reply)) {
    for (const transport::LeaseResult& result : leased->results) {
      if (result.lease != 0) leases_.push_back(result.lease);
    }
  } else if (const auto* reserved = std::get_if<transport::ReserveReply>(&reply)) {
    for (const transport::ReserveResult& result : reserved->results) {
      if (result.outcome == transport::ReserveOutcome::kReserved) {
        reservations_.push_back(result.reservation);
      }
    }
  }
}

void Session::LateBook::Add(const transport::ReleaseRequest& request) {
  base::MutexLock lock(&mutex_);
  leases_.insert(leases_.end(), request.leases.begin(), request.leases.end());
}

void Session::LateBook::Add(const transport::AbortRequest& refused) {
  base::MutexLock lock(&mutex_);
  reservations_.insert(reservations_.end(), refused.reservations.begin(),
                       refused.reservations.end());
}

std::vector<transport::LeaseId> Session::LateBook::TakeLeases(size_t most) {
  base::MutexLock lock(&mutex_);
  if (leases_.size() <= most) return std::exchange(leases_, {});
  std::vector<transport::LeaseId> taken(leases_.end() - static_cast<ptrdiff_t>(most),
                                        leases_.end());
  leases_.resize(leases_.size() - most);
  return taken;
}

std::vector<transport::ReservationId> Session::LateBook::TakeReservations() {
  base::MutexLock lock(&mutex_);
  return std::exchange(reservations_, {});
}

}  // namespace cistern::client
