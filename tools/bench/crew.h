// Several workers at once, each on a thread of its own.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cistern::tools {

// The time since some moment in the past: the wall clock may be set meanwhile.
absl::Duration MonotonicNow();

// `run(worker)` on as many threads, all of them let go at once; on the caller's when it is one. How
// long it took from the first one's start to the last one's end; one of the errors, if any.
absl::StatusOr<absl::Duration> RunCrew(uint32_t workers,
                                       const std::function<absl::Status(uint32_t worker)>& run);

}  // namespace cistern::tools
