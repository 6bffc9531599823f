// A client's first link. A node says that it listens when all its memory is touched, which takes
// seconds: a worker that is started together with it waits.
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "transport/link.h"

namespace cistern::client {

// One attempt, within `timeout`.
using ConnectOnce =
    absl::FunctionRef<absl::StatusOr<std::unique_ptr<transport::Link>>(absl::Duration timeout)>;

// Attempts until one does not answer Unavailable, or `patience` is over: the last one's answer. At
// least one attempt; between two of them `pause`, 10 ms at first and 200 ms at most.
absl::StatusOr<std::unique_ptr<transport::Link>> AwaitNode(
    absl::Duration patience, const base::Clock& clock, ConnectOnce connect,
    absl::FunctionRef<void(absl::Duration)> pause);

}  // namespace cistern::client
