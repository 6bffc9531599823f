// Pools of many block sizes on one arena: no bytes lost, no block twice, slabs that change hands.
#include "storage/pool/asymmetric_pools.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {
namespace {

std::vector<Handle> Take(AsymmetricPools& pools, PoolId pool, uint32_t count) {
  std::vector<Handle> handles;
  EXPECT_EQ(pools.Allocate(pool, count, &handles), count);
  return handles;
}

TEST(AsymmetricPools, OnePoolPerSize) {
  const auto arena = TestArena(1 << 20);
  AsymmetricPools pools(arena.get());
  const PoolId a = pools.PoolFor(4096).value();
  const PoolId b = pools.PoolFor(36864).value();
  EXPECT_NE(a, b);
  EXPECT_EQ(pools.PoolFor(4096).value(), a);
  EXPECT_TRUE(absl::IsInvalidArgument(pools.PoolFor(0).status()));
  for (uint64_t bytes = 1; pools.num_pools() < AsymmetricPools::kMaxPools; ++bytes)
    ASSERT_TRUE(pools.PoolFor(bytes).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(pools.PoolFor(1 << 30).status()));
  EXPECT_TRUE(pools.PoolFor(36864).ok()) << "those that exist stay usable";
}

TEST(AsymmetricPools, BlocksAreAlignedDisjointAndInsideTheArena) {
  const auto arena = TestArena(1 << 20);
  AsymmetricPools pools(arena.get());
  std::map<uint64_t, uint64_t> seen;  // offset -> bytes
  for (const uint64_t bytes : {4096ull, 5001ull, 36864ull, 100ull}) {
    const PoolId pool = pools.PoolFor(bytes).value();
    for (const Handle handle : Take(pools, pool, 5)) seen[pools.Ref(handle).offset] = bytes;
  }
  EXPECT_EQ(seen.size(), 20u);
  uint64_t end = arena->slabs_offset();
  for (const auto& [offset, bytes] : seen) {
    EXPECT_EQ(offset % 16, 0u);
    EXPECT_GE(offset, end);
    end = offset + bytes;
  }
  EXPECT_LE(end, arena->mapped_bytes());
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
}

// The sizes that real models have, alone in arenas from small to large: what cannot be used stays
// under one block.
TEST(AsymmetricPools, ASizeAloneLosesLessThanOneBlock) {
  for (const uint64_t arena_bytes : {64ull << 20, 100ull << 20, 1ull << 30}) {
    for (const uint64_t block :
         {4096ull, 36'864ull, 65'536ull, 497'664ull, 1'124'352ull, 1'437'696ull, 16'777'216ull}) {
      const auto arena = TestArena(arena_bytes);
      AsymmetricPools pools(arena.get());
      const PoolId pool = pools.PoolFor(block).value();
      std::vector<Handle> handles;
      const uint32_t got = pools.Allocate(pool, 1u << 30, &handles);
      EXPECT_EQ(got, arena_bytes / block) << block << " in " << arena_bytes;
      EXPECT_EQ(got, pools.MaxBlocks(pool));
      EXPECT_EQ(pools.used_bytes() + pools.free_bytes() + pools.remainder_bytes(), arena_bytes);
      EXPECT_LT(arena_bytes - pools.used_bytes(), block);
      for (const Handle handle : handles) pools.Free(handle);
      EXPECT_EQ(pools.free_bytes(), arena_bytes);
      EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
    }
  }
}

// Slabs begin on 128 bytes, and blocks of 100,000 do not end there: what can be had is counted as
// it will be cut.
TEST(AsymmetricPools, WhatCanBeHadIsCountedAsItIsCut) {
  for (const uint64_t arena_bytes : {2'000'128ull, 3'000'000ull, 10'000'000ull, 64'000'000ull}) {
    const auto arena = TestArena(arena_bytes);
    AsymmetricPools pools(arena.get());
    const PoolId pool = pools.PoolFor(100'000).value();
    std::vector<Handle> handles;
    const uint64_t most = pools.MaxBlocks(pool);
    EXPECT_EQ(pools.ReachableBlocks(pool), most);
    EXPECT_EQ(pools.Supply(pool, 1'000'000), most);
    EXPECT_TRUE(pools.CanAllocate(pool, static_cast<uint32_t>(most)));
    EXPECT_EQ(pools.Allocate(pool, 1'000'000, &handles), most) << arena_bytes;
  }
}

// A small arena first filled with 1 MiB blocks serves 4 MiB blocks as soon as those go, every byte
// of it.
TEST(AsymmetricPools, EmptySlabsChangeHands) {
  const auto arena = TestArena(64 << 20);
  AsymmetricPools pools(arena.get());
  const PoolId small = pools.PoolFor(1 << 20).value();
  const PoolId large = pools.PoolFor(4 << 20).value();
  const std::vector<Handle> handles = Take(pools, small, 64);
  std::vector<Handle> none;
  EXPECT_FALSE(pools.CanAllocate(large, 1));
  EXPECT_EQ(pools.Allocate(large, 1, &none), 0u);
  for (const Handle handle : handles) pools.Free(handle);
  EXPECT_EQ(pools.counts(small).slabs, 0u) << "an empty slab is given back at once";
  EXPECT_TRUE(pools.CanAllocate(large, 16));
  EXPECT_FALSE(pools.CanAllocate(large, 17));
  EXPECT_EQ(Take(pools, large, 16).size(), 16u);
  EXPECT_EQ(pools.free_bytes(), 0u);
}

TEST(AsymmetricPools, FreeingRaisesTheGeneration) {
  const auto arena = TestArena(1 << 20);
  AsymmetricPools pools(arena.get());
  const Handle handle = Take(pools, pools.PoolFor(4096).value(), 1)[0];
  const base::BlockRef ref = pools.Ref(handle);
  EXPECT_EQ(pools.Resolve(ref).value(), handle);
  pools.Free(handle);
  EXPECT_TRUE(absl::IsFailedPrecondition(pools.Resolve(ref).status()));
  EXPECT_EQ(arena->generation(ref.handle), ref.generation + 1);
}

TEST(AsymmetricPools, WithoutHandlesThereAreNoBlocks) {
  const auto arena = TestArena(1 << 20, 4);
  AsymmetricPools pools(arena.get());
  const PoolId pool = pools.PoolFor(4096).value();
  EXPECT_EQ(pools.MaxBlocks(pool), 4u);
  EXPECT_FALSE(pools.CanAllocate(pool, 5));
  std::vector<Handle> handles;
  EXPECT_EQ(pools.Allocate(pool, 5, &handles), 4u);
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
}

// A slab that is cut keeps a handle for each of its blocks; where there are no others, it does
// without.
TEST(AsymmetricPools, EveryHandleCanBeHadWhoeverKeepsIt) {
  const auto arena = TestArena(1 << 20, 12);
  AsymmetricPools pools(arena.get());
  const PoolId a = pools.PoolFor(8 << 10).value();
  const PoolId b = pools.PoolFor(4 << 10).value();
  const std::vector<Handle> first = Take(pools, a, 2);
  EXPECT_EQ(pools.Supply(b, 100), 10u);
  const std::vector<Handle> others = Take(pools, b, 10);
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
  std::vector<Handle> none;
  EXPECT_EQ(pools.Allocate(a, 1, &none), 0u);
  for (const Handle handle : first) EXPECT_TRUE(pools.Resolve(pools.Ref(handle)).ok());
  pools.Free(others[3]);
  EXPECT_EQ(Take(pools, a, 1)[0], others[3]) << "the only one there is";
  for (const Handle handle : others) pools.Free(handle == others[3] ? first[0] : handle);
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
}

// The generations of one block are used up: its handle is never seen again, and its slab goes on.
TEST(AsymmetricPools, ABlockOutlivesItsHandle) {
  const auto arena = TestArena(1 << 20);
  auto* generations = reinterpret_cast<uint32_t*>(arena->At(arena->header().table_offset));
  AsymmetricPools pools(arena.get());
  const PoolId pool = pools.PoolFor(4096).value();
  const std::vector<Handle> handles = Take(pools, pool, 3);
  const uint64_t offset = pools.Ref(handles[1]).offset;
  generations[handles[1]] = UINT32_MAX - 1;
  const uint32_t available = pools.table().available();
  pools.Free(handles[1]);
  EXPECT_EQ(pools.table().available(), available);
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
  const Handle again = Take(pools, pool, 1)[0];
  EXPECT_NE(again, handles[1]);
  EXPECT_EQ(pools.Ref(again).offset, offset);
  for (const Handle handle : {handles[0], handles[2], again}) pools.Free(handle);
  EXPECT_EQ(pools.counts(pool).slabs, 0u);
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
}

// Three slabs of another size, of different worth, the middle one pinned: the cheapest that can be
// cleared is named.
TEST(AsymmetricPools, TheCheapestWindowHoldsNothingThatMustStay) {
  const auto arena = TestArena(192 << 10);
  AsymmetricPools pools(arena.get());
  const PoolId small = pools.PoolFor(64 << 10).value();  // one block to a slab
  const PoolId large = pools.PoolFor(60 << 10).value();
  const std::vector<Handle> handles = Take(pools, small, 3);
  for (size_t i = 0; i < 3; ++i) pools.SetOwner(handles[i], 100 + i);
  EXPECT_EQ(pools.CheapestWindow(large, 0), std::nullopt);
  EXPECT_EQ(pools.ReachableBlocks(large), 0u);

  pools.SetPriority(handles[0], 50);
  pools.SetPriority(handles[2], 40);
  ASSERT_TRUE(pools.CheapestWindow(large, 0).has_value());
  EXPECT_EQ(pools.CheapestWindow(large, 0)->owners, std::vector<uint32_t>({102}));
  EXPECT_EQ(pools.CheapestWindow(large, 0)->loss_per_byte, 40.0);
  EXPECT_EQ(pools.CheapestWindow(large, 30)->loss_per_byte, 10.0)
      << "inflation has used up part of it";
  EXPECT_EQ(pools.CheapestWindow(large, 90)->loss_per_byte, 0.0);
  EXPECT_EQ(pools.ReachableBlocks(large), 2u);
  pools.SetPriority(handles[2], 60);
  EXPECT_EQ(pools.CheapestWindow(large, 0)->owners, std::vector<uint32_t>({100}));
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
}

TEST(AsymmetricPools, AWindowForALargeBlockJoinsNeighbours) {
  const auto arena = TestArena(256 << 10);
  AsymmetricPools pools(arena.get());
  const PoolId small = pools.PoolFor(64 << 10).value();
  const PoolId large = pools.PoolFor(100 << 10).value();
  const std::vector<Handle> handles = Take(pools, small, 4);
  for (size_t i = 0; i < 4; ++i) pools.SetOwner(handles[i], 1 + i);
  for (const size_t i : {0, 2, 3}) pools.SetPriority(handles[i], 10);
  EXPECT_EQ(pools.CheapestWindow(large, 0)->owners, std::vector<uint32_t>({3, 4}))
      << "1 alone is too small";
  pools.Free(handles[3]);  // a free neighbour costs nothing
  EXPECT_EQ(pools.CheapestWindow(large, 0)->owners, std::vector<uint32_t>({3}));
  EXPECT_EQ(pools.CheapestWindow(large, 0)->loss_per_byte, 5.0);
  EXPECT_EQ(pools.ReachableBlocks(large), 1u);
}

TEST(AsymmetricPools, AFreeStretchIsNoWindow) {
  const auto arena = TestArena(128 << 10);
  AsymmetricPools pools(arena.get());
  const PoolId small = pools.PoolFor(64 << 10).value();
  const Handle handle = Take(pools, small, 1)[0];
  EXPECT_EQ(pools.CheapestWindow(small, 0), std::nullopt);
  pools.SetOwner(handle, 9);
  pools.SetPriority(handle, 7);
  EXPECT_EQ(pools.CheapestWindow(small, 0), std::nullopt) << "its own victims are no window";
  const PoolId other = pools.PoolFor(96 << 10).value();
  EXPECT_EQ(pools.CheapestWindow(other, 0)->owners, std::vector<uint32_t>({9}));
  EXPECT_EQ(pools.CheapestWindow(other, 0)->bytes, 128u << 10);
  pools.SetPriority(handle, (uint64_t{2} << kPriorityLevelShift) + 7);
  EXPECT_EQ(pools.CheapestWindow(other, 0, 1), std::nullopt) << "it is of a higher level";
  EXPECT_EQ(pools.CheapestWindow(other, 0, 2)->owners, std::vector<uint32_t>({9}));
}

TEST(AsymmetricPools, RandomUseConservesCapacity) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    std::mt19937_64 random(seed);
    const auto arena = TestArena(2 << 20);
    AsymmetricPools pools(arena.get());
    std::vector<PoolId> ids;
    for (const uint64_t bytes : {2048ull, 4096ull, 5000ull, 36864ull, 200'000ull, 700'000ull}) {
      ids.push_back(pools.PoolFor(bytes).value());
    }
    std::vector<Handle> live;
    for (int i = 0; i < 4000; ++i) {
      if (random() % 100 < 55) {
        const PoolId pool = ids[random() % ids.size()];
        const uint32_t count = 1 + static_cast<uint32_t>(random() % 6);
        const bool can = pools.CanAllocate(pool, count);
        const uint64_t reach = pools.ReachableBlocks(pool);
        const uint32_t got = pools.Allocate(pool, count, &live);
        ASSERT_EQ(can, got == count);
        ASSERT_TRUE(reach >= got || pools.table().available() == 0);
      } else if (!live.empty()) {
        std::swap(live[random() % live.size()], live.back());
        if (random() % 3 == 0) {
          pools.SetOwner(live.back(), i + 1);
          pools.SetPriority(live.back(), random() % 5);
        } else {
          pools.Free(live.back());
          live.pop_back();
        }
      }
      ASSERT_TRUE(i % 50 != 0 || pools.CheckInvariants().ok())
          << pools.CheckInvariants() << " seed " << seed;
    }
    for (const Handle handle : live) pools.Free(handle);
    ASSERT_TRUE(pools.CheckInvariants().ok());
    EXPECT_EQ(pools.free_bytes(), pools.arena_bytes());
  }
}

}  // namespace
}  // namespace cistern::storage
