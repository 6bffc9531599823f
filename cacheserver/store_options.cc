#include "cacheserver/store_options.h"

#include <limits>

#include "absl/strings/str_cat.h"

#include "base/units.h"

namespace cistern::cacheserver {

storage::StoreOptions StoreOptionsOf(const NodeConfig& config) {
  storage::StoreOptions options;
  options.predict_demand = config.predict_demand;
  options.eviction_policy = config.eviction_policy;
  if (config.object_ttl > absl::ZeroDuration()) options.object_ttl = config.object_ttl;
  options.tenants = config.tenants.named;
  options.other_tenants = config.tenants.others;
  options.variants_per_content = config.variants_per_content;
  options.has_disk = !config.disk_path.empty() || config.device_bytes > 0;
  options.high_watermark = config.demote_above;
  options.low_watermark = config.demote_below;
  return options;
}

storage::StoreOptions HostStoreOptionsOf(const NodeConfig& config) {
  storage::StoreOptions options = StoreOptionsOf(config);
  options.has_disk = !config.disk_path.empty();
  options.serves_above = true;
  // What the store above keeps, this one keeps for it, and it is asked for objects far more rarely
  // than they are used.
  options.object_ttl = absl::InfiniteDuration();
  options.variants_per_content = std::numeric_limits<uint32_t>::max();
  for (storage::TenantRule& rule : options.tenants) rule.quota_bytes = 0;
  options.other_tenants.quota_bytes = 0;
  return options;
}

absl::StatusOr<std::unique_ptr<storage::Arena>> MakeArena(const NodeConfig& config,
                                                          const char* setting, uint64_t bytes,
                                                          uint64_t incarnation) {
  absl::StatusOr<std::unique_ptr<storage::Arena>> memory =
      storage::Arena::Create({.bytes = bytes,
                              .incarnation = incarnation,
                              .huge_pages = config.huge_pages,
                              .pre_touch = config.pre_touch});
  if (memory.ok()) return memory;
  return absl::Status(memory.status().code(), absl::StrCat(setting, " = ", base::FormatBytes(bytes),
                                                           ": ", memory.status().message()));
}

}  // namespace cistern::cacheserver
