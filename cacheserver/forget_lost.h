// Objects that a store takes for kept in the memory below it, and that are there no more: the disk
// reached its bound, or there is none and room was needed. What nobody can have any more is
// forgotten before somebody asks for it; what is still in memory here is dirty again.
//
// Thread   one at a time; takes the store's lock for a few objects at a time, and the lower one's
//          inside
#pragma once

#include <cstdint>

#include "cacheserver/locked_store.h"
#include "storage/tier/memory_tier.h"

namespace cistern::cacheserver {

class LostObjects {
 public:
  // Both outlive it.
  LostObjects(LockedStore* lower, storage::MemoryTier* tier) : lower_(lower), tier_(tier) {}

  // Looks at no more than `limit` objects of `upper`, and goes on where it stopped; at none as long
  // as nothing has been dropped below since it last looked at all of them. How many were lost.
  uint64_t Forget(LockedStore& upper, uint32_t limit);

 private:
  uint64_t ForgetAmong(storage::Store& store, uint32_t rows);

  LockedStore* const lower_;
  storage::MemoryTier* const tier_;
  uint64_t seen_ = 0;             // drops below, when this round began
  bool looking_ = false;          // in the middle of a round
  storage::ObjectId cursor_ = 0;  // where it goes on
};

}  // namespace cistern::cacheserver
