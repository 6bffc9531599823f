#include "transport/rpc/client_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "transport/checksum.h"
#include "transport/rpc/once.h"

namespace cistern::transport {

absl::Status CheckReplyPayload(const ReplyEnvelope& envelope,
                               const std::vector<MutableSlice>& receive) {
  const uint64_t expected = TotalBytes(receive);
  if (envelope.head.payload_bytes != expected) {
    return absl::InternalError(absl::StrCat("the node sent ", envelope.head.payload_bytes,
                                            " bytes of payload where ", expected,
                                            " were asked for"));
  }
  const auto* read = std::get_if<ReadReply>(&envelope.reply);
  if (read == nullptr || read->checksum == 0) return absl::OkStatus();
  if (PayloadChecksum(receive) == read->checksum) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(expected, " bytes of payload arrived damaged: the checksum does not match"));
}

std::optional<ClientCore::Begun> ClientCore::Begin(const Request& request, CallOptions options,
                                                   Completion done, uint64_t carrier_data) {
  RequestHead head;
  head.deadline = options.deadline;
  head.send_bytes = TotalBytes(options.send);
  head.receive_bytes = TotalBytes(options.receive);

  PendingCall call;
  call.deadline = After(MonoNow(), std::min(options.deadline, kMaxDeadline));
  const MonoTime deadline = call.deadline;
  call.send = std::move(options.send);
  call.receive = std::move(options.receive);
  call.carrier_data = carrier_data;
  call.late = std::move(options.late);
  call.done = std::move(done);

  absl::Status status = CheckBounds(request);
  if (status.ok()) {
    const absl::StatusOr<uint64_t> added = pending_.Add(call);
    status = added.status();
    if (added.ok()) head.call_id = *added;
  }
  if (!status.ok()) {
    Refuse(std::move(call.done), std::move(status));
    return std::nullopt;
  }
  Lower(deadline);
  Begun begun{head.call_id, EncodeRequest(head, request)};
  if (begun.message.size() > kMaxMessageBytes) {
    Abandon(begun.call_id, absl::InvalidArgumentError(absl::StrCat(
                               "a message of ", begun.message.size(), " bytes; at most ",
                               kMaxMessageBytes, " can be sent, make several calls")));
    return std::nullopt;
  }
  return begun;
}

void ClientCore::Refuse(Completion done, absl::Status status) {
  std::vector<PendingCall> one(1);
  one[0].done = std::move(done);
  CompleteOnLane(std::move(one), std::move(status));
}

void ClientCore::Abandon(uint64_t call_id, absl::Status status) {
  std::optional<PendingCall> call = pending_.Take(call_id);
  if (call.has_value()) Refuse(std::move(call->done), std::move(status));
}

absl::Status ClientCore::OnReply(std::span<const std::byte> message) {
  absl::StatusOr<ReplyEnvelope> envelope = DecodeReply(message);
  if (!envelope.ok()) {
    return absl::InternalError(
        absl::StrCat("the node's reply cannot be read: ", envelope.status().message()));
  }
  std::function<void(const Reply&)> late;
  std::optional<PendingCall> call = TakeOr(envelope->head.call_id, &late);
  if (call.has_value()) {
    Complete(*std::move(call), *std::move(envelope));
  } else if (late != nullptr && !std::holds_alternative<ErrorReply>(envelope->reply)) {
    late(envelope->reply);
  }
  return absl::OkStatus();
}

void ClientCore::Orphan(const ReplyEnvelope& envelope) {
  std::function<void(const Reply&)> late;
  {
    base::MutexLock lock(&expiry_);
    if (auto orphan = orphans_.extract(envelope.head.call_id)) late = std::move(orphan.mapped());
  }
  if (late != nullptr && !std::holds_alternative<ErrorReply>(envelope.reply)) late(envelope.reply);
}

std::optional<PendingCall> ClientCore::TakeOr(uint64_t call_id,
                                              std::function<void(const Reply&)>* late) {
  base::MutexLock lock(&expiry_);
  std::optional<PendingCall> call = pending_.Take(call_id);
  if (call.has_value()) return call;
  if (auto orphan = orphans_.extract(call_id)) *late = std::move(orphan.mapped());
  return std::nullopt;
}

void ClientCore::Complete(PendingCall call, ReplyEnvelope envelope) {
  if (const auto* error = std::get_if<ErrorReply>(&envelope.reply)) {
    call.done(error->ToStatus());
    return;
  }
  absl::Status status = CheckReplyPayload(envelope, call.receive);
  if (status.ok()) {
    call.done(std::move(envelope.reply));
  } else {
    call.done(std::move(status));
  }
}

void ClientCore::Fail(PendingCall call, absl::Status status) { call.done(std::move(status)); }

void ClientCore::OnDeath(absl::Status status) {
  alive_.store(false, std::memory_order_release);
  std::vector<PendingCall> left = pending_.Close(status);
  if (!left.empty()) CompleteOnLane(std::move(left), std::move(status));
}

// A call that has expired and may not be completed yet is in between, but not for who has the lock.
bool ClientCore::expects() {
  base::MutexLock lock(&expiry_);
  return pending_.size() > 0 || !orphans_.empty();
}

// The Sent runs the completions even when the lane takes no more tasks.
void ClientCore::CompleteOnLane(std::vector<PendingCall> calls, absl::Status status) {
  Sent complete([calls = std::move(calls), status = std::move(status)]() mutable {
    for (PendingCall& call : calls) call.done(status);
  });
  lane_->Post([complete = std::move(complete)]() mutable { complete(); });
}

void ClientCore::Lower(MonoTime deadline) {
  MonoTime armed = armed_.load();
  while (deadline < armed) {
    if (!armed_.compare_exchange_weak(armed, deadline)) continue;
    lane_->Post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->ArmTimer();
    });
    return;
  }
}

void ClientCore::ArmTimer() {
  const MonoTime when = armed_.load();
  if (when == kNever || (timer_ != 0 && timer_when_ <= when)) return;
  if (timer_ != 0) lane_->CancelTimer(timer_);
  timer_when_ = when;
  timer_ = lane_->AddTimer(when, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->RunExpired();
  });
}

void ClientCore::RunExpired() {
  timer_ = 0;
  // Before the look at what waits: a call that comes after it finds nothing armed and arms the lane
  // itself.
  armed_.store(kNever);
  for (PendingCall& call : TakeExpired())
    call.done(absl::DeadlineExceededError("the node did not answer in time"));
  const MonoTime next = pending_.NextDeadline();
  if (next != kNever) Lower(next);
}

std::vector<PendingCall> ClientCore::TakeExpired() {
  const MonoTime now = MonoNow();
  base::MutexLock lock(&expiry_);
  std::vector<PendingCall> expired = pending_.TakeExpired(now);
  std::erase_if(expired, [&](PendingCall& call) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (may_expire_ != nullptr && !may_expire_(call)) {
      call.overdue = true;
      call.deadline = After(now, kOverdueGrace);
      if (pending_.PutBack(call)) return true;
    }
    if (call.late) {
      orphans_.emplace(call.call_id, std::move(call.late));
      if (orphans_.size() > kMaxOrphans) orphans_.erase(orphans_.begin());
    }
    return false;
  });
  return expired;
}

}  // namespace cistern::transport
