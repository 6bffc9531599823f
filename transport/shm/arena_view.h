// The node's arena, as a worker sees it: mapped read-only, and checked before it is believed.
//
// Thread   any
// Errors   FailedPrecondition, saying what does not fit: another layout version, another
//          incarnation than the hello's, sizes that contradict each other, a descriptor that is
//          not a sealed memfd
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "transport/shm/memfd.h"
#include "transport/wire/messages.h"

namespace cistern::transport {

absl::StatusOr<std::shared_ptr<Mapping>> MapArena(int fd, const HelloReply& node);

}  // namespace cistern::transport
