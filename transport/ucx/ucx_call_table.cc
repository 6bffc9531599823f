#include "transport/ucx/ucx_call_table.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace cistern::transport {

void UcxCallTable::Use(std::shared_ptr<UcxConnection> connection) {
  connection_ = std::move(connection);
  core_->SetMayExpire([this](const PendingCall& call) { return MayExpire(call); });
}

void UcxCallTable::Start(UcxConnection& connection, uint64_t call_id, std::string message,
                         std::vector<Slice> send) {
  // Its buffers are its caller's again.
  if (expired_unsent_.erase(call_id) != 0) return;
  if (!connection.open()) {
    core_->Abandon(call_id, absl::UnavailableError("the node is gone"));
    return;
  }
  if (TotalBytes(send) == 0) {
    connection.Send(std::move(message), {}, Sent());
    return;
  }
  transfers_[call_id].sending = true;
  connection.Send(std::move(message), std::move(send),
                  Sent([self = shared_from_this(), call_id] { self->OnSent(call_id); }),
                  {.name = call_id});
}

void UcxCallTable::OnMessage(std::span<const std::byte> message, UcxPayload payload) {
  absl::StatusOr<ReplyEnvelope> reply = DecodeReply(message);
  if (!reply.ok() || reply->head.payload_bytes != payload.bytes) {
    connection_->Close(absl::UnavailableError(absl::StrCat(
        "the node's reply cannot be read: ",
        reply.ok() ? "its payload has another size than it says" : reply.status().message())));
    return;
  }
  std::optional<PendingCall> call = core_->Take(reply->head.call_id);
  if (call.has_value()) {
    OnReply(*std::move(call), *std::move(reply), payload);
  } else {  // its call has expired
    if (payload.id != 0) connection_->Drop(payload);
    core_->Orphan(*reply);
  }
}

void UcxCallTable::OnReply(PendingCall call, ReplyEnvelope reply, UcxPayload payload) {
  const uint64_t call_id = call.call_id;
  std::vector<MutableSlice> into;
  // Otherwise the core finds that the sizes do not fit.
  if (payload.id != 0 && TotalBytes(call.receive) == payload.bytes) into = call.receive;
  if (payload.id != 0 && into.empty()) connection_->Drop(payload);

  Transfer& transfer = transfers_[call_id];
  transfer.receiving = !into.empty();
  transfer.payload = payload;
  transfer.call = std::move(call);
  transfer.reply = std::move(reply);
  if (into.empty()) {
    TryComplete(call_id);
  } else {
    connection_->Receive(payload, std::move(into),
                         Received([self = shared_from_this(), call_id](absl::Status status) {
                           self->OnReceived(call_id, std::move(status));
                         }));
  }
  const auto it = transfers_.find(call_id);
  if (it == transfers_.end()) return;
  const Transfer& moving = it->second;
  const bool all_in_pieces =
      (!moving.receiving || payload.tag != 0) &&
      (!moving.sending || connection_->InPieces(TotalBytes(moving.call->send)));
  const MonoTime deadline = moving.call->deadline;
  Watch(call_id, all_in_pieces ? deadline : After(deadline, ClientCore::kOverdueGrace));
}

void UcxCallTable::OnSent(uint64_t call_id) {
  const auto it = transfers_.find(call_id);
  if (it == transfers_.end()) return;
  it->second.sending = false;
  if (it->second.call.has_value()) TryComplete(call_id);  // otherwise it waits for its reply
}

void UcxCallTable::OnReceived(uint64_t call_id, absl::Status status) {
  const auto it = transfers_.find(call_id);
  if (it == transfers_.end()) return;
  it->second.receiving = false;
  if (it->second.status.ok()) it->second.status = std::move(status);
  TryComplete(call_id);
}

void UcxCallTable::TryComplete(uint64_t call_id) {
  const auto it = transfers_.find(call_id);
  if (it->second.sending || it->second.receiving) return;
  Transfer done = std::move(it->second);
  transfers_.erase(it);
  if (done.timer != 0) lane_->CancelTimer(done.timer);
  if (done.status.ok()) {
    core_->Complete(*std::move(done.call), std::move(done.reply));
  } else {
    core_->Fail(*std::move(done.call), std::move(done.status));
  }
}

// The core's look at deadlines: a call whose payload is still being sent moves here.
bool UcxCallTable::MayExpire(const PendingCall& call) {
  if (TotalBytes(call.send) == 0) return true;
  const auto it = transfers_.find(call.call_id);
  if (it == transfers_.end()) {
    expired_unsent_.insert(call.call_id);
    return true;
  }
  if (!it->second.sending || connection_->Withdraw(call.call_id)) {
    transfers_.erase(it);
    return true;
  }
  lane_->Post([self = shared_from_this(), call_id = call.call_id] { self->Hold(call_id); });
  return false;
}

void UcxCallTable::Hold(uint64_t call_id) {
  std::optional<PendingCall> call = core_->Take(call_id);
  if (!call.has_value()) return;
  Transfer& transfer = transfers_[call_id];
  transfer.call = *std::move(call);
  transfer.status = absl::DeadlineExceededError("the node did not take the payload in time");
  if (transfer.sending) {
    Watch(call_id, After(MonoNow(), ClientCore::kOverdueGrace));
  } else {
    TryComplete(call_id);
  }
}

void UcxCallTable::Watch(uint64_t call_id, MonoTime until) {
  transfers_[call_id].timer =
      lane_->AddTimer(until, [self = shared_from_this(), call_id] { self->GiveUp(call_id); });
}

void UcxCallTable::GiveUp(uint64_t call_id) {
  const auto it = transfers_.find(call_id);
  if (it == transfers_.end()) return;
  it->second.timer = 0;
  if (it->second.status.ok()) {
    it->second.status = absl::DeadlineExceededError("the payload did not arrive in time");
  }
  // Each may complete it.
  const UcxPayload payload = it->second.payload;
  if (it->second.sending) connection_->Withdraw(call_id);
  connection_->Abandon(payload);
  if (!transfers_.contains(call_id)) return;
  connection_->Close(absl::UnavailableError(
      "the link was closed, because a call's deadline passed while its payload was moving"));
}

// Every payload is at rest: what is left are calls that wait for their reply.
void UcxCallTable::OnClosed(const absl::Status& why) {
  transfers_.clear();
  core_->OnDeath(why);
  connection_.reset();
}

}  // namespace cistern::transport
