// Questions whose answer comes in pages, asked until the end.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "tools/cistern/node_admin.h"

namespace cistern::tools {

// At most `limit` objects from request.cursor on; {"objects": [...], "next": 0 or where it goes
// on}.
absl::StatusOr<std::string> ListAll(NodeAdmin& node, transport::AdminRequest request,
                                    uint32_t limit);

// Evicts, and asks what stays: {"evicted": n, "kept": n, "kept_pinned": n, "kept_leased": n}; an
// object may be both. NotFound: a key that no object has.
absl::StatusOr<std::string> EvictAll(NodeAdmin& node, transport::AdminRequest request);

// The sums of all pages. `*damage`: something was wrong.
absl::StatusOr<std::string> VerifyAll(NodeAdmin& node, transport::AdminRequest request,
                                      bool* damage);

// Whether a flush has left nothing behind.
absl::StatusOr<bool> FlushedAll(const std::string& json);

}  // namespace cistern::tools
