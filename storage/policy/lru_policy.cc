#include "storage/policy/lru_policy.h"

namespace cistern::storage {

void LruPolicy::Used(Slot slot) {
  if (at(slot).open) open_.Update(slot);
}

}  // namespace cistern::storage
