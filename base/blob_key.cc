#include "base/blob_key.h"

#include "absl/strings/str_cat.h"

namespace cistern::base {

// The salt's length keeps salt and name apart.
Key BlobKey(absl::string_view salt, absl::string_view name) {
  return HashBytes(absl::StrCat("blob:", salt.size(), ":", salt, name));
}

}  // namespace cistern::base
