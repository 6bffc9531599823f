// Who has which bytes of the arena: an address-ordered tiling of extents, each free or one slab's.
//
// Free neighbours are always merged, so that a free extent is as large as it can be. Take and Give
// are O(log n) in the number of extents. Which extent is taken depends on sizes and addresses
// alone: the smallest that is large enough, and of those the lowest.
//
// Thread   one at a time
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/status/status.h"

namespace cistern::storage {

using SlabId = uint32_t;
inline constexpr SlabId kFreeExtent = std::numeric_limits<SlabId>::max();
inline constexpr SlabId kHeldExtent = kFreeExtent - 1;  // nobody's, and not to be taken for now

class ExtentMap {
 public:
  struct Extent {
    uint64_t bytes = 0;
    SlabId slab = kFreeExtent;
  };
  using Map = absl::btree_map<uint64_t, Extent>;  // by offset

  using FreeSet = absl::btree_set<std::pair<uint64_t, uint64_t>>;  // (bytes, offset)

  ExtentMap(uint64_t offset, uint64_t bytes);

  uint64_t largest_free() const { return free_.empty() ? 0 : free_.rbegin()->first; }
  uint64_t free_bytes() const { return free_bytes_; }

  // Cuts `bytes` (not 0) for `slab` from the beginning of a free extent; nothing when none is large
  // enough.
  std::optional<uint64_t> Take(uint64_t bytes, SlabId slab);
  // Gives back what Take returned, or what is held.
  void Give(uint64_t offset);
  // Holds an extent, free or a slab's, until Give: Take does not see it and it does not merge.
  void Hold(uint64_t offset);

  const Map& extents() const { return extents_; }
  const FreeSet& free_by_size() const { return free_; }
  // Internal when the tiling has a gap, an overlap or two free neighbours.
  absl::Status CheckInvariants() const;

 private:
  void AddFree(uint64_t offset, uint64_t bytes);
  void RemoveFree(uint64_t offset, uint64_t bytes);

  uint64_t begin_;
  uint64_t bytes_;
  uint64_t free_bytes_ = 0;
  Map extents_;
  FreeSet free_;
};

}  // namespace cistern::storage
