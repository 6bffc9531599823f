// S3-FIFO: a small queue that most blocks leave unused, a main queue, and the keys of what left the
// small one.
//
//   new ─► small (10 % of the blocks) ─► out, remembered as a ghost | main if it was used twice
//   ghost that comes back ─► main ─► out | back to its end while it has uses left (3 at most)
//
// A block that may not go when its turn comes is set aside, and stands first in its queue when it
// may.
//
// Cost     O(1), amortised
// Source   Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023
#pragma once

#include <cstdint>
#include <list>

#include "storage/policy/eviction_policy.h"
#include "storage/policy/ghost_list.h"

namespace cistern::storage {

class S3FifoPolicy final : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

  static constexpr uint64_t kSmallPercent = 10;  // of the blocks
  static constexpr uint64_t kGhostPercent = 90;  // of the blocks
  static constexpr uint32_t kMaxUses = 3;
  static constexpr uint32_t kUsesToStay = 2;  // in the small queue

 private:
  enum Queue : uint8_t { kSmall = 0, kMain = 1 };
  struct Fifo {
    std::list<Entry*> line;  // first out at the front
    size_t blocks = 0;       // with those that are set aside
  };

  void Entered(Entry& entry) override;
  void Used(Entry& entry, uint64_t previous_use) override;
  void Opened(Entry& entry) override;
  void Closed(Entry&) override {}
  Entry* Choose() override;
  void Left(Entry& entry, Exit exit) override;

  void Append(Entry& entry, Queue queue);
  // The first of the line, which goes or gets a second turn: null for the latter.
  Entry* TakeTurn(Fifo& fifo, Queue queue);

  Fifo fifos_[2];
  GhostList ghosts_;
};

}  // namespace cistern::storage
