// Pages and states in one small arena, for what an allocator of asymmetric pools owes its users:
// the properties that the tests of the published one name (arXiv 2605.22416 and the code beside
// it), item by item, as they read for ours.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "storage/pool/asymmetric_pools.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {

// Every number that the pools tell of themselves.
struct PoolsSeen {
  uint64_t used, free, remainder, evictable, page_slabs, page_used, page_free, state_slabs,
      state_used, state_free;
  friend bool operator==(const PoolsSeen&, const PoolsSeen&) = default;
};

class PoolsConformance : public ::testing::Test {
 protected:
  static constexpr uint64_t kPage = 64 << 10;    // 16 tokens of one attention layer
  static constexpr uint64_t kState = 256 << 10;  // one layer's state
  static constexpr uint64_t kArenaBytes = 16 << 20;

  PoolsConformance() : arena_(TestArena(kArenaBytes)), pools_(arena_.get()) {
    page_ = pools_.PoolFor(kPage).value();
    state_ = pools_.PoolFor(kState).value();
  }
  ~PoolsConformance() override {
    EXPECT_TRUE(pools_.CheckInvariants().ok()) << pools_.CheckInvariants();
    EXPECT_EQ(pools_.used_bytes() + pools_.free_bytes() + pools_.remainder_bytes(), kArenaBytes);
  }

  std::vector<Handle> Take(PoolId pool, uint32_t count, bool movable = true) {
    std::vector<Handle> handles;
    EXPECT_EQ(pools_.Allocate(pool, count, &handles), count);
    for (const Handle handle : handles) {
      pools_.SetOwner(handle, next_owner_++);
      pools_.SetMovable(handle, movable);
    }
    return handles;
  }
  void FreeAll(const std::vector<Handle>& handles) {
    for (const Handle handle : handles) pools_.Free(handle);
  }
  // Fills the arena with pages and gives every second one back.
  std::vector<Handle> TakeHalfOfThePages(bool movable) {
    const std::vector<Handle> all = Take(page_, kArenaBytes / kPage, movable);
    std::vector<Handle> kept;
    for (size_t i = 0; i < all.size(); ++i) {
      if (i % 2 == 0) {
        kept.push_back(all[i]);
      } else {
        pools_.Free(all[i]);
      }
    }
    return kept;
  }
  uint64_t Gather(PoolId pool) {
    return pools_.GatherRoom(pool, [](Handle, Handle) {});
  }
  PoolsSeen Look() const {
    const PoolCounts& page = pools_.counts(page_);
    const PoolCounts& state = pools_.counts(state_);
    return {pools_.used_bytes(),      pools_.free_bytes(), pools_.remainder_bytes(),
            pools_.evictable_bytes(), page.slabs,          page.blocks_used,
            page.blocks_free,         state.slabs,         state.blocks_used,
            state.blocks_free};
  }

  std::unique_ptr<Arena> arena_;
  AsymmetricPools pools_;
  PoolId page_ = 0;
  PoolId state_ = 0;
  uint64_t next_owner_ = 1;
};

}  // namespace cistern::storage
