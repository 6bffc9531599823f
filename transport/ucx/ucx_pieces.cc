// How a connection sends and receives payloads in pieces.
#include <utility>

#include "absl/strings/str_cat.h"

#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_operation.h"
#include "transport/ucx/ucx_worker.h"

namespace cistern::transport {
namespace {

// More would lie in memory, and gain nothing: the socket's buffer holds as many again.
constexpr uint32_t kMaxPiecesUnderWay = 4;

}  // namespace

void UcxConnection::SendInPieces(std::string message, std::vector<Slice> payload, Sent sent,
                                 UcxSendOptions options) {
  // What goes by rendezvous may be read later than what is sent after it.
  const bool pushed = options.has_room && message.size() <= kEagerBytes;
  const LongHeader header = {.tag = next_tag_++,
                             .payload_bytes = TotalBytes(payload),
                             .way = pushed ? PayloadWay::kPushed : PayloadWay::kPulled};
  outbox_.Add(header.tag, options.name, std::move(payload), std::move(sent));
  // What has left stays ahead of what is sent after it; what waits does not.
  Sent announced([this, tag = header.tag, pushed] {
    if (!pushed) return;
    outbox_.Go(tag);
    Pump();
  });
  Post(UcxFrameKind::kMessage, HeaderBytes(header), std::move(message), {}, std::move(announced));
}

// As much as may be under way; then UCX has its turn, and whatever else the lane serves.
void UcxConnection::Pump() {
  if (std::exchange(pumping_, true)) return;
  const std::shared_ptr<UcxConnection> self = shared_from_this();
  for (uint32_t i = 0; i < kMaxPiecesUnderWay && open() && outbox_.ready() &&
                       pieces_under_way_ < kMaxPiecesUnderWay;
       ++i) {
    PostPiece();
  }
  pumping_ = false;
  const bool more = open() && outbox_.ready() && pieces_under_way_ < kMaxPiecesUnderWay;
  if (!more || std::exchange(will_pump_, true)) return;
  worker_->Defer([self] {
    self->will_pump_ = false;
    if (self->worker_ != nullptr) self->Pump();
  });
}

void UcxConnection::PostPiece() {
  UcxWorker::PieceBuffer buffer = worker_->TakePieceBuffer();
  const PayloadOutbox::Piece piece = outbox_.Pack({buffer.get(), kPieceBytes});
  const Slice bytes(buffer.get(), piece.bytes);
  ++pieces_under_way_;
  Sent gone([this, buffer = std::move(buffer)]() mutable {
    --pieces_under_way_;
    if (worker_ == nullptr) return;
    worker_->GivePieceBuffer(std::move(buffer));
    Pump();
  });
  Post(UcxFrameKind::kPiece, HeaderBytes(piece.header), {}, {bytes}, std::move(gone));
}

void UcxConnection::Tell(UcxFrameKind kind, uint64_t tag) {
  if (!open()) return;
  Post(kind, HeaderBytes(LateHeader{.tag = tag}), {}, {}, Sent());
}

bool UcxConnection::Withdraw(uint64_t name) {
  const std::optional<uint64_t> tag = outbox_.Withdraw(name);
  if (tag.has_value()) Tell(UcxFrameKind::kWithdrawn, *tag);
  return tag.has_value();
}

bool UcxConnection::Abandon(const UcxPayload& payload) {
  if (payload.tag == 0 || !inbox_.claimed(payload.tag)) return false;
  Tell(UcxFrameKind::kRefuse, payload.tag);
  inbox_.Forget(payload.tag);
  return true;
}

void UcxConnection::OnAnnounced(const LongHeader& header, std::string message) {
  if (header.way != PayloadWay::kPushed && header.way != PayloadWay::kPulled) {
    return Bad("a payload that comes in no way that we know");
  }
  const absl::Status announced = inbox_.Announce(header.tag, header.payload_bytes);
  if (!announced.ok()) return Bad(announced.message());
  const UcxPayload payload = {
      .id = next_data_id_++, .bytes = header.payload_bytes, .tag = header.tag};
  Data data;
  data.bytes = payload.bytes;
  data.tag = payload.tag;
  data.pulled = header.way == PayloadWay::kPulled;
  held_.emplace(payload.id, std::move(data));
  events_->OnMessage(std::as_bytes(std::span(message)), payload);
}

// In UCX's callback: the descriptor is UCX's again when this returns.
void UcxConnection::OnPieceFrame(UcxFrameKind kind, std::span<const std::byte> header,
                                 Data&& data) {
  if (kind != UcxFrameKind::kPiece) {
    LateHeader word;
    if (!ReadHeader(header, &word)) return Bad("a word about a payload of a wrong size");
    return OnWordOfPieces(kind, word.tag);
  }
  PieceHeader parsed;
  if (!ReadHeader(header, &parsed)) return Bad("a piece with a header of a wrong size");
  if (data.rendezvous) return Bad("a piece that is too large");
  const absl::Status taken =
      inbox_.OnPiece(parsed, {static_cast<const std::byte*>(data.descriptor), data.bytes});
  if (!taken.ok()) Bad(taken.message());
}

void UcxConnection::OnWordOfPieces(UcxFrameKind kind, uint64_t tag) {
  switch (kind) {
    case UcxFrameKind::kPull:
      // It was withdrawn, and the word of that came before its message.
      if (!outbox_.Go(tag)) Tell(UcxFrameKind::kWithdrawn, tag);
      break;
    case UcxFrameKind::kRefuse:
      outbox_.Refuse(tag);
      break;
    default:
      inbox_.OnWithdrawn(tag);
      break;
  }
  Pump();
}

}  // namespace cistern::transport
