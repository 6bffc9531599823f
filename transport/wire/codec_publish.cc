// Reserve and Link.
#include "base/status_macros.h"
#include "transport/wire/codec_parts.h"

namespace cistern::transport::wire {

void Encode(const ReserveRequest& message, Reserve::Builder out) {
  auto headers = out.initHeaders(message.headers.size());
  for (uint32_t i = 0; i < message.headers.size(); ++i)
    EncodeHeader(message.headers[i], headers[i]);
  out.setPayloadHeaders(message.payload_headers);
  out.setLayerEnd(message.layer_end);
  out.setChecksum(message.checksum);
  out.setCommit(message.commit);
}

absl::Status Decode(Reserve::Reader in, ReserveRequest* message) {
  const auto headers = in.getHeaders();
  CISTERN_RETURN_IF_ERROR(CheckCount(headers.size(), kMaxItems, "headers to reserve for"));
  message->payload_headers = in.getPayloadHeaders();
  message->layer_end = in.getLayerEnd();
  message->checksum = in.getChecksum();
  message->commit = in.getCommit();
  message->headers.resize(headers.size());
  for (uint32_t i = 0; i < headers.size(); ++i) {
    CISTERN_RETURN_IF_ERROR(DecodeHeader(headers[i], &message->headers[i]));
  }
  return absl::OkStatus();
}

void Encode(const transport::ReserveReply& message, ReserveReply::Builder out) {
  auto results = out.initResults(message.results.size());
  for (uint32_t i = 0; i < message.results.size(); ++i) {
    results[i].setOutcome(static_cast<ReserveOutcome>(message.results[i].outcome));
    results[i].setReservation(message.results[i].reservation);
  }
  out.setWritten(message.written);
  out.setCommitted(message.committed);
}

absl::Status Decode(ReserveReply::Reader in, transport::ReserveReply* message) {
  const auto results = in.getResults();
  CISTERN_RETURN_IF_ERROR(CheckCount(results.size(), kMaxItems, "reservations"));
  message->written = in.getWritten();
  message->committed = in.getCommitted();
  message->results.resize(results.size());
  for (uint32_t i = 0; i < results.size(); ++i) {
    CISTERN_RETURN_IF_ERROR(DecodeEnum(results[i].getOutcome(),
                                       transport::ReserveOutcome::kTooLarge,
                                       "a reservation's outcome", &message->results[i].outcome));
    message->results[i].reservation = results[i].getReservation();
  }
  return absl::OkStatus();
}

void Encode(const LinkRequest& message, Link::Builder out) {
  auto items = out.initItems(message.items.size());
  for (uint32_t i = 0; i < message.items.size(); ++i) {
    const transport::LinkItem& item = message.items[i];
    auto to = items[i];
    to.setObject(item.object);
    to.setContextHi(item.context.hi);
    to.setContextLo(item.context.lo);
    to.setParentContextHi(item.parent_context.hi);
    to.setParentContextLo(item.parent_context.lo);
  }
}

absl::Status Decode(Link::Reader in, LinkRequest* message) {
  const auto items = in.getItems();
  CISTERN_RETURN_IF_ERROR(CheckCount(items.size(), kMaxItems, "items to link"));
  message->items.reserve(items.size());
  for (const auto item : items) {
    message->items.push_back({item.getObject(),
                              {item.getContextHi(), item.getContextLo()},
                              {item.getParentContextHi(), item.getParentContextLo()}});
  }
  return absl::OkStatus();
}

}  // namespace cistern::transport::wire
