// What nobody has used for the time to live.
#include "storage/store_impl.h"

namespace cistern::storage {

void Store::Impl::ForgetUse(const Object& object) {
  const auto it = last_uses.find(object.id);
  if (it == last_uses.end()) return;
  by_last_use.erase({it->second, object.id});
  last_uses.erase(it);
}

void Store::Impl::Touch(Object* object, absl::Time now) {
  if (!expires()) return;
  ForgetUse(*object);
  const int64_t now_ns = absl::ToUnixNanos(now);
  last_uses[object->id] = now_ns;
  by_last_use.emplace(now_ns, uint64_t{object->id});
}

uint64_t Store::ExpireObjects(absl::Time now, uint64_t limit) {
  Impl& s = *impl_;
  uint64_t dropped = 0;
  for (uint64_t looked = 0; looked < limit && !s.by_last_use.empty(); ++looked) {
    const auto [last_use, id] = *s.by_last_use.begin();
    if (now - absl::FromUnixNanos(last_use) <= s.options.object_ttl) break;
    Object* object = s.FindAttached(id);
    if (object->pinned || object->in_use()) {
      s.Touch(object, now);  // it is of use at this moment
      continue;
    }
    s.Drop(object);
    ++dropped;
  }
  s.stats.expired_objects += dropped;
  return dropped;
}

}  // namespace cistern::storage
