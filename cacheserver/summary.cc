#include "cacheserver/summary.h"

namespace cistern::cacheserver {
namespace {

// Of all tenants.
uint64_t OverQuota(const storage::StoreStats& stats) {
  uint64_t refused = 0;
  for (const storage::TenantStats& tenant : stats.tenants) refused += tenant.over_quota;
  return refused;
}

}  // namespace

void Summary::Update(const storage::StoreStats& stats, absl::Time now) {
  if (now - last_ < every_) return;
  const auto changed = [&](uint64_t storage::StoreStats::*count) {
    return stats.*count - before_.*count;
  };
  const uint64_t evicted = changed(&storage::StoreStats::evicted_objects);
  const uint64_t dropped = changed(&storage::StoreStats::dropped_objects);
  const uint64_t demoted = changed(&storage::StoreStats::demoted_objects);
  const uint64_t staged = changed(&storage::StoreStats::staged_objects);
  const uint64_t no_room = changed(&storage::StoreStats::no_room);
  const uint64_t expired = changed(&storage::StoreStats::expired_objects);
  const uint64_t over_quota = OverQuota(stats) - OverQuota(before_);
  if (evicted + dropped + demoted + staged + no_room + expired + over_quota > 0) {
    log_->Info("objects moved", {{"evicted", evicted},
                                 {"evicted_bytes", changed(&storage::StoreStats::evicted_bytes)},
                                 {"dropped", dropped},
                                 {"demoted", demoted},
                                 {"demoted_bytes", changed(&storage::StoreStats::demoted_bytes)},
                                 {"staged", staged},
                                 {"staged_bytes", changed(&storage::StoreStats::staged_bytes)},
                                 {"no_room", no_room},
                                 {"expired", expired},
                                 {"over_quota", over_quota},
                                 {"memory_used_bytes", stats.used_bytes}});
  }
  last_ = now;
  before_ = stats;
}

}  // namespace cistern::cacheserver
