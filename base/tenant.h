// How people write a tenant: by its salt, or by the number that stands for it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::base {

// "0x" and the 16 hex digits of TenantOf(salt); it does not give the salt away.
std::string TenantText(uint64_t tenant);

// A salt, or what TenantText gives. The empty salt is the shared tenant. InvalidArgument: it begins
// with 0x, and 16 hex digits do not follow (a tenant with such a salt goes by its number).
absl::StatusOr<uint64_t> ParseTenant(absl::string_view text);

}  // namespace cistern::base
