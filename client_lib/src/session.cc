#include "client_lib/src/session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace cistern::client {

absl::Duration Session::CallDeadline(absl::Time until) const {
  return std::max(absl::Milliseconds(1), std::min(until - absl::Now(), call_deadline_));
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
  const std::vector<transport::LeaseId> late = late_->TakeAll();
  leases.insert(leases.end(), late.begin(), late.end());
  if (!link_->alive()) return;  // the node has released what was this session's
  for (size_t from = 0; from < leases.size(); from += transport::kMaxItems) {
    const size_t count = std::min<size_t>(transport::kMaxItems, leases.size() - from);
    transport::ReleaseRequest request{{leases.begin() + from, leases.begin() + from + count}};
    transport::CallOptions options;
    options.deadline = call_deadline_;
    link_->Call(std::move(request), std::move(options),
                [](const absl::StatusOr<transport::Reply>&) {});
  }
}

void Session::LateLeases::Add(const transport::FindReply& reply) {
  base::MutexLock lock(&mutex_);
  for (const transport::ObjectRef& object : reply.objects) {
    if (object.lease != 0) leases_.push_back(object.lease);
  }
}

void Session::LateLeases::Add(const transport::LeaseReply& reply) {
  base::MutexLock lock(&mutex_);
  for (const transport::LeaseResult& result : reply.results) {
    if (result.lease != 0) leases_.push_back(result.lease);
  }
}

std::vector<transport::LeaseId> Session::LateLeases::TakeAll() {
  base::MutexLock lock(&mutex_);
  return std::exchange(leases_, {});
}

}  // namespace cistern::client
