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
#include <vector>

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
    Slot first = kNoSlot;  // of the line: out next
    Slot last = kNoSlot;
    size_t blocks = 0;  // with those that are set aside
  };
  struct Neighbours {
    Slot before = kNoSlot;
    Slot after = kNoSlot;
  };

  void Entered(Slot slot, uint64_t key) override;
  void Used(Slot slot) override;
  void Opened(Slot slot) override;
  void Closed(Slot) override {}
  Slot Choose() override;
  void Left(Slot slot, Exit exit, uint64_t key) override;

  // Into a line, behind `before`: kNoSlot for its beginning.
  void Link(Slot slot, Fifo& fifo, Slot before);
  void Unlink(Slot slot);
  void Append(Slot slot, Queue queue);
  // The first of the line, which goes or gets a second turn: kNoSlot for the latter.
  Slot TakeTurn(Queue queue);

  Fifo fifos_[2];
  std::vector<Neighbours> neighbours_;  // by slot
  GhostList ghosts_;
};

}  // namespace cistern::storage
