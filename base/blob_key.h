// What a blob is called: a name that an engine gives, under a tenant's salt.
//
// Thread   any
#pragma once

#include "absl/strings/string_view.h"

#include "base/key.h"

namespace cistern::base {

// H(salt, name). Any bytes; without the salt nobody can ask for another tenant's blob.
Key BlobKey(absl::string_view salt, absl::string_view name);

}  // namespace cistern::base
