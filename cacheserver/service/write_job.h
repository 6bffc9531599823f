// A payload on its way into reserved blocks: what a Write does, and a Reserve that brings the first
// one.
//
// The blocks stay from the moment that this is called until `done` runs, whoever dies meanwhile.
// Small payloads are moved where the caller stands, others on a copy thread.
//
// Thread   any; `done` runs once, on the caller's, a copy thread or the call's lane
// Errors   InvalidArgument: a payload of another size than its rows, a layer that is not there.
//          FailedPrecondition: not this session's reservation. DataLoss: the checksum.
//          ResourceExhausted: too many payloads wait. Nothing is marked as written then
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "cacheserver/service/call.h"
#include "cacheserver/service/layer_range.h"
#include "cacheserver/service/parts.h"
#include "transport/wire/messages.h"

namespace cistern::cacheserver {

struct WriteOrder {
  std::vector<transport::ReservationId> reservations;
  LayerRange layers;
  uint64_t checksum = 0;  // 0 = not checked
  bool commit = false;    // what this completes is committed with it
};

// `committed`: how many objects.
using WriteDone = absl::AnyInvocable<void(absl::Status status, uint32_t committed)>;

void StartWrite(const Parts& parts, const CallPtr& call, WriteOrder order, WriteDone done);

}  // namespace cistern::cacheserver
