// Least recently used, of the blocks that may go.
//
// Cost     O(log n)
#pragma once

#include <cstdint>

#include "absl/container/btree_map.h"

#include "storage/policy/eviction_policy.h"

namespace cistern::storage {

class LruPolicy final : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 private:
  void Entered(Entry&) override {}
  void Used(Entry& entry, uint64_t previous_use) override;
  void Opened(Entry& entry) override;
  void Closed(Entry& entry) override;
  Entry* Choose() override;
  void Left(Entry&, Exit) override {}

  absl::btree_map<uint64_t, Entry*> by_use_;  // last use ─► block that may go
};

}  // namespace cistern::storage
