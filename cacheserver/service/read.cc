// Read: rows of leased objects, sent straight from the arena.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cacheserver/layout.h"
#include "cacheserver/service/handlers.h"
#include "cacheserver/service/layer_range.h"
#include "transport/checksum.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using transport::ReadRequest;

// Begins the read and says what it consists of; on an error nothing is held.
absl::StatusOr<std::vector<PlacedObject>> Hold(const Parts& parts, transport::SessionId session,
                                               const ReadRequest& request) {
  return parts.store->With([&](Store& store) -> absl::StatusOr<std::vector<PlacedObject>> {
    CISTERN_ASSIGN_OR_RETURN(std::vector<HeldObject> held,
                             parts.sessions->BeginRead(store, session, request.leases));
    std::vector<PlacedObject> objects;
    absl::Status status;
    for (HeldObject& object : held) {
      absl::StatusOr<ObjectShape> shape = ShapeOf(*object.header, parts.blob_block_bytes);
      status = shape.status();
      if (!status.ok()) break;
      objects.push_back({*shape, std::move(object.blocks)});
    }
    if (status.ok()) status = CheckLayerRange({request.layer_begin, request.layer_end}, objects);
    if (!status.ok()) {
      parts.sessions->EndRead(store, session, request.leases);
      return status;
    }
    return objects;
  });
}

void EndRead(const Parts& parts, transport::SessionId session,
             const std::vector<transport::LeaseId>& leases) {
  parts.store->With([&](Store& store) { parts.sessions->EndRead(store, session, leases); });
  parts.room->RoomCame();
}

void Send(const Parts& parts, const CallPtr& call, const std::vector<PlacedObject>& objects) {
  const auto& request = call->request<ReadRequest>();
  std::vector<transport::Slice> payload = AsConst(
      PayloadSlices(parts.arena->data(), objects, {request.layer_begin, request.layer_end}));
  transport::ReadReply reply;
  reply.payload_bytes = transport::TotalBytes(payload);
  if (!call->carrier_checks(reply.payload_bytes)) {
    reply.checksum = transport::PayloadChecksum(payload);
  }
  call->AnswerWithPayload(reply, std::move(payload),
                          [&parts, session = call->session(), leases = request.leases] {
                            EndRead(parts, session, leases);
                          });
}

// A copy thread would have nothing to do, or little.
bool SendsHere(Call& call, const std::vector<PlacedObject>& objects) {
  const auto& request = call.request<ReadRequest>();
  const uint64_t bytes = PayloadBytes({request.layer_begin, request.layer_end}, objects);
  return call.lane_moves() && (call.carrier_checks(bytes) || bytes <= Call::kChecksumHereBytes);
}

}  // namespace

void HandleRead(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<ReadRequest>();
  absl::StatusOr<std::vector<PlacedObject>> objects = Hold(parts, call->session(), request);
  if (!objects.ok()) return call->Fail(objects.status());
  if (SendsHere(*call, *objects)) return Send(parts, call, *objects);
  if (!parts.copy_pool->Post(
          [&parts, call, objects = *std::move(objects)] { Send(parts, call, objects); })) {
    EndRead(parts, call->session(), request.leases);
    call->Fail(absl::ResourceExhaustedError("too many payloads wait for a copy thread: back off"));
  }
}

}  // namespace cistern::cacheserver
