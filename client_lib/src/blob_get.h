// The bytes of leased blobs into a worker's memory: from the mapping, or by Read calls of several
// blobs each, a few in flight.
//
// Thread   one at a time
#pragma once

#include <vector>

#include "absl/status/status.h"

#include "client_lib/src/blob_leases.h"
#include "client_lib/src/counters.h"
#include "transport/slice.h"

namespace cistern::client {

struct BlobCopy {
  const FoundBlob* blob = nullptr;  // leased
  transport::MutableSlice to;       // of its size
  bool done = false;
};

// Says of each whether its bytes are there. An error ends it: Unavailable, DeadlineExceeded, or
// ResourceExhausted, when bytes that come by copy find no buffer.
absl::Status CopyBlobs(std::vector<BlobCopy>* copies, absl::Time until, Session& session,
                       Counters* counters);

// `blob` where it lies in the mapping, in as few pieces as can be; empty: it lies outside of it.
std::vector<transport::Slice> BlobRuns(const FoundBlob& blob, Session& session);

}  // namespace cistern::client
