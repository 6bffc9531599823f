// UCX's errors as ours: the one place where they are translated.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "ucs/type/status.h"

namespace cistern::transport {

// OK for UCS_OK. `what` says what was tried. Whatever means that the peer cannot be reached, or is
// gone, is Unavailable.
absl::Status UcxStatus(ucs_status_t status, absl::string_view what);

}  // namespace cistern::transport
