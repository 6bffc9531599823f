// Room for one block size out of the holes of others: what moves, what stays, and that nothing is
// lost.
#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "storage/pool/asymmetric_pools.h"
#include "tests/model/seed.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;

// Blocks with a word of content each; the pools' user, in small.
class GatherRoomTest : public ::testing::Test {
 protected:
  // A slab holds 1 MiB: 16 of the small blocks.
  GatherRoomTest() : arena_(TestArena(64 * kMiB)), pools_(arena_.get()) {
    small_ = pools_.PoolFor(64 * kKiB).value();
    large_ = pools_.PoolFor(2 * kMiB).value();
  }

  Handle TakeOne(PoolId pool, bool movable = true) {
    std::vector<Handle> handles;
    if (pools_.Allocate(pool, 1, &handles) == 0) return kNoHandle;
    const uint64_t owner = next_owner_++;
    pools_.SetOwner(handles[0], owner);
    pools_.SetMovable(handles[0], movable);
    memcpy(arena_->At(pools_.Ref(handles[0]).offset), &owner, sizeof(owner));
    blocks_[owner] = handles[0];
    return handles[0];
  }
  void FillWithSmall() {
    while (TakeOne(small_) != kNoHandle) {
    }
  }
  void Drop(uint64_t owner) {
    pools_.Free(blocks_.at(owner));
    blocks_.erase(owner);
  }
  uint64_t Gather(PoolId pool) {
    const uint64_t bytes = pools_.GatherRoom(pool, [&](Handle from, Handle to) {
      const uint64_t owner = pools_.table().at(from).owner;
      EXPECT_EQ(pools_.table().at(to).owner, owner);
      ASSERT_EQ(blocks_.at(owner), from);
      memcpy(arena_->At(pools_.Ref(to).offset), arena_->At(pools_.Ref(from).offset),
             sizeof(uint64_t));
      blocks_[owner] = to;
    });
    Check();
    return bytes;
  }
  void Check() {
    ASSERT_TRUE(pools_.CheckInvariants().ok()) << pools_.CheckInvariants();
    ASSERT_EQ(pools_.used_bytes() + pools_.free_bytes() + pools_.remainder_bytes(),
              pools_.arena_bytes());
    for (const auto& [owner, handle] : blocks_) {
      uint64_t content = 0;
      memcpy(&content, arena_->At(pools_.Ref(handle).offset), sizeof(content));
      ASSERT_EQ(content, owner);
    }
  }

  std::unique_ptr<Arena> arena_;
  AsymmetricPools pools_;
  PoolId small_ = 0;
  PoolId large_ = 0;
  uint64_t next_owner_ = 1;
  std::map<uint64_t, Handle> blocks_;  // by owner
};

TEST_F(GatherRoomTest, ScatteredHolesBecomeALargeBlock) {
  FillWithSmall();
  ASSERT_EQ(blocks_.size(), 1024u);
  for (uint64_t owner = 1; owner <= 1024; owner += 16) Drop(owner);  // one of each slab's 16
  ASSERT_FALSE(pools_.CanAllocate(large_, 1));
  // Two slabs next to each other are emptied into the holes of the others: 30 blocks.
  EXPECT_EQ(Gather(large_), 30 * 64 * kKiB);
  EXPECT_TRUE(pools_.CanAllocate(large_, 1));
  EXPECT_NE(TakeOne(large_), kNoHandle);
  EXPECT_EQ(blocks_.size(), 1024u - 64 + 1);
  Check();
  // 34 holes are left; another 2 MiB takes 32.
  EXPECT_GT(Gather(large_), 0u);
  EXPECT_NE(TakeOne(large_), kNoHandle);
  EXPECT_EQ(Gather(large_), 0u) << "two holes are too few";
  Check();
}

TEST_F(GatherRoomTest, TakesTheStretchWithTheFewestBytesToMove) {
  FillWithSmall();
  // Slabs 10 and 11 keep four blocks between them, all others but two stay full.
  for (uint64_t owner = 161; owner <= 188; ++owner) Drop(owner);
  for (uint64_t owner = 1; owner <= 4; ++owner) Drop(owner);
  EXPECT_EQ(Gather(large_), 4 * 64 * kKiB);
}

TEST_F(GatherRoomTest, BlocksThatMustStayBlockTheirSlabOnly) {
  for (uint64_t i = 0; i < 1024; ++i)
    ASSERT_NE(TakeOne(small_, /*movable=*/i % 64 != 0), kNoHandle);
  for (uint64_t owner = 2; owner <= 1024; owner += 2) Drop(owner);
  std::vector<std::pair<uint64_t, base::BlockRef>> pinned;
  for (uint64_t owner = 1; owner <= 1024; owner += 64)
    pinned.emplace_back(owner, pools_.Ref(blocks_.at(owner)));
  while (Gather(large_) > 0) ASSERT_NE(TakeOne(large_), kNoHandle);
  EXPECT_GT(pools_.counts(large_).blocks_used, 8u);
  for (const auto& [owner, ref] : pinned)
    EXPECT_EQ(pools_.Ref(blocks_.at(owner)), ref) << "it must not move";
}

// Blocks as large as a slab leave no holes, only free extents that lie apart; those are room, too.
TEST_F(GatherRoomTest, FreeExtentsThatLieApartComeTogether) {
  const PoolId single = pools_.PoolFor(kMiB).value();
  while (TakeOne(single) != kNoHandle) {
  }
  ASSERT_EQ(blocks_.size(), 64u);
  for (uint64_t owner = 2; owner <= 64; owner += 2) Drop(owner);
  ASSERT_FALSE(pools_.CanAllocate(large_, 1));
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(Gather(large_), kMiB) << i;
    ASSERT_NE(TakeOne(large_), kNoHandle) << i;
  }
  EXPECT_EQ(pools_.used_bytes(), pools_.arena_bytes());
  EXPECT_EQ(Gather(large_), 0u);
}

// Two sizes whose blocks do not fit each other's places: what moves never takes the room away that
// it was to make, and it comes to an end.
TEST_F(GatherRoomTest, GatheringAgainAndAgainEnds) {
  const PoolId single = pools_.PoolFor(kMiB).value();
  const PoolId odd = pools_.PoolFor(700'001).value();
  std::mt19937_64 random(5);
  while (TakeOne(random() % 2 == 0 ? single : odd) != kNoHandle) {
  }
  std::vector<uint64_t> owners;
  for (const auto& [owner, handle] : blocks_) owners.push_back(owner);
  for (const uint64_t owner : owners)
    if (random() % 2 == 0) Drop(owner);
  uint64_t supply = pools_.Supply(large_, 1000);
  int rounds = 0;
  while (Gather(large_) > 0) {
    ASSERT_LT(++rounds, 200);
    ASSERT_GE(pools_.Supply(large_, 1000), supply);
    supply = pools_.Supply(large_, 1000);
  }
  EXPECT_GT(rounds, 3);
  EXPECT_GE(supply * 2 * kMiB, pools_.free_bytes() * 8 / 10);
}

TEST_F(GatherRoomTest, NothingMovesWhenNothingMay) {
  for (uint64_t i = 0; i < 1024; ++i) ASSERT_NE(TakeOne(small_, /*movable=*/false), kNoHandle);
  for (uint64_t owner = 1; owner <= 1024; owner += 2) Drop(owner);
  EXPECT_EQ(Gather(large_), 0u);
  EXPECT_EQ(Gather(small_), 0u) << "its own holes are no gain";
}

TEST_F(GatherRoomTest, AMovedBlocksOldReferenceIsStale) {
  FillWithSmall();
  std::map<uint64_t, base::BlockRef> before;
  for (const auto& [owner, handle] : blocks_) before[owner] = pools_.Ref(handle);
  for (uint64_t owner = 1; owner <= 1024; owner += 8) Drop(owner);
  ASSERT_GT(Gather(large_), 0u);
  int moved = 0;
  for (const auto& [owner, handle] : blocks_) {
    if (pools_.Ref(handle) == before[owner]) continue;
    ++moved;
    EXPECT_TRUE(absl::IsFailedPrecondition(pools_.Resolve(before[owner]).status()));
  }
  EXPECT_GT(moved, 0);
}

TEST_F(GatherRoomTest, PriorityAndMovabilityGoAlong) {
  FillWithSmall();
  for (const auto& [owner, handle] : blocks_) pools_.SetPriority(handle, owner);
  const uint64_t evictable = pools_.evictable_bytes();
  for (uint64_t owner = 1; owner <= 1024; owner += 8) Drop(owner);
  ASSERT_GT(Gather(large_), 0u);
  EXPECT_EQ(pools_.evictable_bytes(), evictable - 128 * 64 * kKiB);
  for (const auto& [owner, handle] : blocks_) {
    EXPECT_EQ(pools_.table().at(handle).priority, owner);
    EXPECT_EQ(pools_.table().at(handle).movable, 1u);
  }
}

// Whatever the mixture: nothing is lost, and what it answers is true. Returns the bytes moved.
class RandomMixture : public GatherRoomTest {
 protected:
  uint64_t Run(uint64_t seed) {
    std::mt19937_64 random(seed);
    const PoolId odd = pools_.PoolFor(100'000).value();
    const PoolId pool_of[] = {small_, odd, large_};
    uint64_t gathered = 0;
    for (int step = 0; step < 4000 && !HasFatalFailure(); ++step) {
      const PoolId pool = pool_of[random() % 3];
      if (blocks_.empty() || random() % 100 < 55) {
        const bool movable = random() % 50 != 0;
        if (pools_.CanAllocate(pool, 1)) {
          TakeOne(pool, movable);
        } else {
          gathered += GatherAndCompare(pool);
        }
      } else {
        Drop(std::next(blocks_.begin(), static_cast<std::ptrdiff_t>(random() % blocks_.size()))
                 ->first);
      }
      if (step % 200 == 0) Check();
    }
    return gathered;
  }

 private:
  uint64_t GatherAndCompare(PoolId pool) {
    const uint64_t before = pools_.used_bytes();
    const uint64_t moved = Gather(pool);
    EXPECT_EQ(pools_.used_bytes(), before);
    EXPECT_EQ(pools_.CanAllocate(pool, 1), moved > 0);
    return moved;
  }
};

// These seeds are known to reach what the test is about.
class RandomMixtureOfSeed : public RandomMixture, public ::testing::WithParamInterface<uint64_t> {};
TEST_P(RandomMixtureOfSeed, MovesAndLosesNothing) { EXPECT_GT(Run(GetParam()), 0u); }
INSTANTIATE_TEST_SUITE_P(Fixed, RandomMixtureOfSeed, ::testing::Range<uint64_t>(1, 7));

// Whether anything has to move depends on the dice; that nothing is lost does not.
TEST_F(RandomMixture, OfAnySeedLosesNothing) {
  const uint64_t seed = model_test::GivenSeed().value_or(7);
  SCOPED_TRACE(seed);
  Run(seed);
}

}  // namespace
}  // namespace cistern::storage
