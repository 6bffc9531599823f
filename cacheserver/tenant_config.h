// What each tenant may take of a node's memory, as a setting.
//
//   SALT:quota=4GiB,priority=2,0x0123456789abcdef:priority=0,others:quota=1GiB
//
// A tenant is its salt or its number (base/tenant.h), `others` all that are not named; then quota
// (0 or left out: no bound), priority (0 to 7, 1 when left out), or both. A part between commas
// that has no colon goes on with the tenant before it. What is shown has numbers for salts.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "storage/store.h"

namespace cistern::cacheserver {

inline constexpr size_t kMaxTenants = 256;  // that are named

struct TenantSettings {
  std::vector<storage::TenantRule> named;  // each tenant once
  storage::TenantRule others;              // its `tenant` means nothing
};

// InvalidArgument: one line that names the tenant, and `settings` is as it was.
absl::Status ParseTenants(absl::string_view text, TenantSettings& settings);

std::string TenantsText(const TenantSettings& settings);  // "" when there is no rule

// Of all rules that are larger than `pool_bytes`: InvalidArgument, a line for each.
std::vector<absl::Status> QuotasThatDoNotFit(const TenantSettings& settings, uint64_t pool_bytes);

}  // namespace cistern::cacheserver
