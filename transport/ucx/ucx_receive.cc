// How a connection receives: frames as they come in UCX's callbacks, long messages with their
// payloads, and payloads once somebody says where to.
#include <utility>

#include <string.h>

#include "absl/strings/str_cat.h"

#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_operation.h"
#include "transport/ucx/ucx_way.h"
#include "transport/ucx/ucx_worker.h"
#include "transport/wire/messages.h"

namespace cistern::transport {
namespace {

void Scatter(const std::byte* from, const std::vector<MutableSlice>& into) {
  for (const MutableSlice& slice : into) {
    if (slice.empty()) continue;
    memcpy(slice.data(), from, slice.size());
    from += slice.size();
  }
}

}  // namespace

// In UCX's callback: the descriptor must be used, or kept, or copied, before this returns.
ucs_status_t UcxConnection::OnFrame(UcxFrameKind kind, std::span<const std::byte> header,
                                    Data&& data, bool can_keep) {
  if (!knows_way_) {
    in_pieces_.store(UcxSendsInPieces(endpoint_), std::memory_order_release);
    knows_way_ = true;
  }
  if (kind >= UcxFrameKind::kPiece) {
    OnPieceFrame(kind, header, std::move(data));
    return UCS_OK;
  }
  UcxPayload payload;
  payload.bytes = data.bytes;
  if (payload.bytes != 0) {
    payload.id = next_data_id_++;
    held_.emplace(payload.id, std::move(data));
  }
  switch (kind) {
    case UcxFrameKind::kCall:
      events_->OnMessage(header, payload);
      break;
    case UcxFrameKind::kMessage:
      OnLongMessage(header, payload.id);
      break;
    case UcxFrameKind::kPayload:
      OnLatePayload(header, payload);
      break;
    default:
      break;
  }
  const auto it = held_.find(payload.id);
  if (it == held_.end()) return UCS_OK;  // used, or nobody wants it
  Data& kept = it->second;
  kept.in_callback = false;
  if (can_keep) return UCS_INPROGRESS;
  const auto* bytes = static_cast<const std::byte*>(kept.descriptor);
  kept.copy.assign(bytes, bytes + kept.bytes);
  kept.descriptor = nullptr;
  return UCS_OK;
}

void UcxConnection::OnLongMessage(std::span<const std::byte> header, uint64_t data_id) {
  LongHeader parsed;
  if (!ReadHeader(header, &parsed)) return Bad("a long message with a header of a wrong size");
  const auto it = held_.find(data_id);
  if (it == held_.end()) return Bad("an empty message");
  const Data& data = it->second;
  if (data.bytes > kMaxMessageBytes) {
    return Bad(absl::StrCat("a message of ", data.bytes, " bytes"));
  }
  if (data.rendezvous) {
    if (long_messages_.size() >= kMaxHalves) return Bad("too many long messages at once");
    long_messages_.push_back({parsed, data_id});
    ReadLongMessages();
    return;
  }
  std::string message(static_cast<const char*>(data.descriptor), data.bytes);
  held_.erase(it);
  OnWholeMessage(parsed, std::move(message));
}

// One at a time, so that a peer cannot make us hold more than one that is half read.
void UcxConnection::ReadLongMessages() {
  if (reading_long_message_ || long_messages_.empty() || !open()) return;
  const LongMessage next = long_messages_.front();
  long_messages_.pop_front();
  const auto it = held_.find(next.data_id);
  if (it == held_.end()) return;
  void* const descriptor = it->second.descriptor;
  auto operation = std::make_unique<Operation>();
  operation->body.resize(it->second.bytes);
  operation->Add(operation->body.data(), operation->body.size());
  operation->done = [this, header = next.header](Operation& self, const absl::Status& status) {
    reading_long_message_ = false;
    if (!status.ok() || !open()) return;
    OnWholeMessage(header, std::move(self.body));
    ReadLongMessages();
  };
  held_.erase(it);
  reading_long_message_ = true;
  ReceiveRendezvous(descriptor, std::move(operation));
}

void UcxConnection::OnWholeMessage(const LongHeader& header, std::string message) {
  if (header.payload_bytes == 0) {
    events_->OnMessage(std::as_bytes(std::span(message)), UcxPayload());
    return;
  }
  if (header.way != PayloadWay::kWhole) return OnAnnounced(header, std::move(message));
  Half& half = halves_[header.tag];
  if (half.has_message) return Bad("two messages with one tag");
  if (!Hold(&half, message.size())) return;
  half.has_message = true;
  half.message = std::move(message);
  half.payload_bytes = header.payload_bytes;
  TryDeliver(header.tag);
}

void UcxConnection::OnLatePayload(std::span<const std::byte> header, UcxPayload payload) {
  LateHeader parsed;
  if (!ReadHeader(header, &parsed)) return Bad("a payload with a header of a wrong size");
  if (payload.id == 0) return Bad("an empty payload");
  Half& half = halves_[parsed.tag];
  if (half.payload.id != 0) return Bad("two payloads with one tag");
  // What goes by rendezvous stays with its sender.
  if (!held_.at(payload.id).rendezvous && !Hold(&half, payload.bytes)) return;
  half.payload = payload;
  TryDeliver(parsed.tag);
}

// Counts what a half keeps here; false when it is too much, and the connection closes.
bool UcxConnection::Hold(Half* half, uint64_t bytes) {
  half->held_bytes += bytes;
  half_bytes_ += bytes;
  if (half_bytes_ <= kMaxHalfBytes) return true;
  Bad("too many bytes of messages and payloads without each other");
  return false;
}

void UcxConnection::TryDeliver(uint64_t tag) {
  if (halves_.size() > kMaxHalves) return Bad("too many messages and payloads without each other");
  const auto it = halves_.find(tag);
  if (!it->second.has_message || it->second.payload.id == 0) return;
  const Half half = std::move(it->second);
  halves_.erase(it);
  half_bytes_ -= half.held_bytes;
  if (half.payload.bytes != half.payload_bytes) {
    return Bad(absl::StrCat("a payload of ", half.payload.bytes, " bytes where ",
                            half.payload_bytes, " were announced"));
  }
  events_->OnMessage(std::as_bytes(std::span(half.message)), half.payload);
}

void UcxConnection::ReceiveNow(UcxPayload payload, const std::vector<MutableSlice>& into,
                               Received done) {
  const auto it = held_.find(payload.id);
  if (!open() || it == held_.end()) return;  // `done` says Unavailable as it goes
  Data data = std::move(it->second);
  held_.erase(it);
  if (TotalBytes(into) != data.bytes) {
    const uint64_t bytes = data.bytes;
    Release(data);
    done(absl::InvalidArgumentError(
        absl::StrCat("a payload of ", bytes, " bytes into ", TotalBytes(into))));
    return;
  }
  if (data.tag != 0) {
    if (data.pulled) Tell(UcxFrameKind::kPull, data.tag);
    inbox_.Claim(data.tag, into, std::move(done));
    return;
  }
  if (data.rendezvous) {
    auto operation = std::make_unique<Operation>();
    operation->Add(into);
    operation->done = [done = std::move(done)](Operation&, absl::Status status) mutable {
      done(std::move(status));
    };
    ReceiveRendezvous(data.descriptor, std::move(operation));
    return;
  }
  Scatter(data.descriptor != nullptr ? static_cast<const std::byte*>(data.descriptor)
                                     : data.copy.data(),
          into);
  Release(data);
  done(absl::OkStatus());
}

void UcxConnection::ReceiveRendezvous(void* descriptor, std::unique_ptr<Operation> operation) {
  Operation* const begun = operation.release();
  begun->connection = shared_from_this();
  if (operations_.empty()) last_finished_ = MonoNow();
  operations_.insert(begun);

  ucp_request_param_t param = {};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_DATATYPE;
  param.cb.recv_am = &OnReceiveDone;
  param.user_data = begun;
  param.datatype = begun->datatype();
  Began(begun, ucp_am_recv_data_nbx(worker_->handle(), descriptor, begun->buffer(), begun->count(),
                                    &param));
}

void UcxConnection::Release(Data& data) {
  if (data.tag != 0) {
    inbox_.Forget(data.tag);
    Tell(UcxFrameKind::kRefuse, data.tag);
  }
  void* const descriptor = std::exchange(data.descriptor, nullptr);
  if (descriptor == nullptr || data.in_callback) return;
  ucp_am_data_release(worker_->handle(), descriptor);
}

void UcxConnection::Bad(absl::string_view what) {
  const absl::Status status =
      absl::InvalidArgumentError(absl::StrCat("the peer sent nonsense: ", what));
  events_->OnBadFrame(status);
  CloseNow(status, false);
}

}  // namespace cistern::transport
