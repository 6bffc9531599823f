// One of every message, empty and full, for whoever tests what carries them.
#pragma once

#include <vector>

#include "transport/wire/messages.h"

namespace cistern::transport {

base::ObjectHeader SampleSegment(uint32_t num_tokens = 100);
base::ObjectHeader SampleBlob();
base::ObjectHeader SampleState(base::ObjectKind kind);

// Every kind, with its lists empty and with every field set to something that is not its default.
std::vector<Request> SampleRequests();
std::vector<Reply> SampleReplies();

}  // namespace cistern::transport
