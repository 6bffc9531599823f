// Stores blobs: as many as fit into a unit ride on one Reserve, which commits them. Only where the
// node did not take them so (it had some, or had no room for some) the rest is written by a second
// call.
//
// Thread   one at a time
// Errors   Unavailable, DeadlineExceeded, ResourceExhausted (no buffer in time): what was stored
//          before stays, the rest is given up. All other trouble drops single blobs
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/key.h"
#include "cistern/blobs.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/session.h"

namespace cistern::client {

struct NewBlob {
  base::Key key;
  uint64_t tenant = 0;
  std::span<const std::byte> bytes;  // 1 to the staging's max_bytes()
};

// `outcomes`: one for each, kDropped before the call.
absl::Status PutBlobs(std::span<const NewBlob> blobs, absl::Time until, Session& session,
                      Counters* counters, std::span<PutOutcome> outcomes);

}  // namespace cistern::client
