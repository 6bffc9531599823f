#include "storage/policy/lru_policy.h"

namespace cistern::storage {

void LruPolicy::Used(Entry& entry, uint64_t previous_use) {
  if (by_use_.erase(previous_use) > 0) by_use_.emplace(entry.last_use, &entry);
}

void LruPolicy::Opened(Entry& entry) { by_use_.emplace(entry.last_use, &entry); }

void LruPolicy::Closed(Entry& entry) { by_use_.erase(entry.last_use); }

EvictionPolicy::Entry* LruPolicy::Choose() {
  return by_use_.empty() ? nullptr : by_use_.begin()->second;
}

}  // namespace cistern::storage
