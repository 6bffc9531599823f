#include "cacheserver/store_options.h"

namespace cistern::cacheserver {

storage::StoreOptions StoreOptionsOf(const NodeConfig& config) {
  storage::StoreOptions options;
  options.eviction_policy = config.eviction_policy;
  if (config.object_ttl > absl::ZeroDuration()) options.object_ttl = config.object_ttl;
  options.tenants = config.tenants.named;
  options.other_tenants = config.tenants.others;
  options.variants_per_content = config.variants_per_content;
  options.has_disk = !config.disk_path.empty();
  options.high_watermark = config.demote_above;
  options.low_watermark = config.demote_below;
  return options;
}

}  // namespace cistern::cacheserver
