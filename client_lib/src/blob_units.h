// A batch of blobs as calls of a few of them each, some in flight: what Get by copy and Put share.
//
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "client_lib/src/pending_call.h"
#include "client_lib/src/session.h"
#include "client_lib/src/staging.h"

namespace cistern::client {

// Consecutive blobs of the batch.
struct BlobUnit {
  size_t begin = 0, end = 0;
  uint64_t bytes = 0;
  std::shared_ptr<Staging::Lent> buffer;  // of so many
  std::shared_ptr<PendingCall> call;
};

struct BlobBatch {
  size_t count = 0;
  uint64_t unit_bytes = 0;  // of one call, or one blob
  absl::FunctionRef<uint64_t(size_t)> bytes_of;
  // Makes the call of a unit that has its buffer.
  absl::FunctionRef<std::shared_ptr<PendingCall>(const BlobUnit&)> start;
  // Waits for it; an error ends the batch, with those that are in flight.
  absl::FunctionRef<absl::Status(const BlobUnit&)> finish;
};

// The first error of `finish`, or of a buffer that could not be had by `until`.
absl::Status RunUnits(const BlobBatch& batch, absl::Time until, Session& session);

}  // namespace cistern::client
