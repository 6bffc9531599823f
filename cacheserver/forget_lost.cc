#include "cacheserver/forget_lost.h"

#include <algorithm>
#include <vector>

namespace cistern::cacheserver {
namespace {

constexpr uint32_t kLostRowsPerLook = 64;  // while the store's lock is held

}  // namespace

uint64_t LostObjects::ForgetAmong(storage::Store& store, uint32_t rows) {
  std::vector<storage::ObjectId> lost;
  cursor_ = store.List(
      {.all = true}, cursor_, rows,
      [&](const storage::ObjectView& view, bool /*pinned*/, uint32_t /*leases*/, double /*value*/) {
        if (view.on_disk && !tier_->Contains({view.header->content, view.header->context}))
          lost.push_back(view.id);
      });
  for (const storage::ObjectId id : lost) store.ForgetRecord(id);
  return lost.size();
}

uint64_t LostObjects::Forget(LockedStore& upper, uint32_t limit) {
  const uint64_t dropped =
      lower_->With([](storage::Store& store) { return store.Stats().dropped_objects; });
  uint64_t lost = 0;
  for (uint32_t looked = 0; looked < limit && (looking_ || seen_ != dropped);
       looked += kLostRowsPerLook) {
    if (!looking_) seen_ = dropped;
    const uint32_t rows = std::min(kLostRowsPerLook, limit - looked);
    lost += upper.With([&](storage::Store& store) { return ForgetAmong(store, rows); });
    looking_ = cursor_ != 0;
  }
  return lost;
}

}  // namespace cistern::cacheserver
