// Capacity that changes its pool, determinism, and what must never be lost. pools_conformance.h
// says where the items are from; what cannot apply to ours is said where it would stand.
#include <algorithm>
#include <map>
#include <random>

#include "tests/unit/storage/pools_conformance.h"

namespace cistern::storage {
namespace {

// --- a pool's size
// ---------------------------------------------------------------------------------

TEST_F(PoolsConformance, APoolGrowsAndShrinksByWholeSlabs) {
  const std::vector<Handle> pages = Take(page_, 5);
  EXPECT_EQ(pools_.counts(page_).slabs, 2u) << "a slab is a 64th of the arena: four pages";
  EXPECT_EQ(pools_.counts(page_).blocks_free, 3u);
  const std::vector<Handle> more = Take(page_, 100);
  EXPECT_GT(pools_.counts(page_).slabs, 20u);
  FreeAll(more);
  EXPECT_LE(pools_.counts(page_).slabs, 2u);
  FreeAll(pages);
  EXPECT_EQ(pools_.counts(page_).slabs, 0u) << "an idle pool holds nothing";
}

TEST_F(PoolsConformance, ABlockLargerThanTheArenaIsNeverThere) {
  const PoolId huge = pools_.PoolFor(2 * kArenaBytes).value();
  EXPECT_EQ(pools_.MaxBlocks(huge), 0u);
  EXPECT_FALSE(pools_.CanAllocate(huge, 1));
  EXPECT_EQ(Gather(huge), 0u);
  EXPECT_FALSE(pools_.CheapestWindow(huge, 0).has_value());
}

// --- capacity that changes its pool
// ----------------------------------------------------------------

TEST_F(PoolsConformance, PagesBecomeStatesAndStatesPages) {
  for (int round = 0; round < 3; ++round) {
    const std::vector<Handle> pages = TakeHalfOfThePages(true);
    EXPECT_FALSE(pools_.CanAllocate(state_, 1));
    uint64_t states = 0;
    while (Gather(state_) > 0) {
      while (pools_.CanAllocate(state_, 1)) states += Take(state_, 1).size();
      ASSERT_TRUE(pools_.CheckInvariants().ok()) << pools_.CheckInvariants();
    }
    EXPECT_EQ(states * kState, kArenaBytes / 2) << "all that was free";
    EXPECT_EQ(pools_.used_bytes(), kArenaBytes);
    // The mirror: the small blocks find room in what the large ones leave.
    std::vector<Handle> live;
    for (Handle handle = 1; live.size() < pools_.table().live(); ++handle)
      if (pools_.table().IsLive(handle)) live.push_back(handle);
    for (const Handle handle : live)
      if (pools_.Ref(handle).offset % 2 == 0 && pools_.table().at(handle).owner % 4 == 0)
        pools_.Free(handle);
    const uint64_t room = pools_.free_bytes();
    uint64_t pages_again = 0;
    do {
      while (pools_.CanAllocate(page_, 1)) pages_again += Take(page_, 1).size();
    } while (Gather(page_) > 0);
    EXPECT_EQ(pages_again * kPage, room);
    for (Handle handle = 1; pools_.table().live() > 0; ++handle)
      if (pools_.table().IsLive(handle)) pools_.Free(handle);
  }
}

// The donor's used tail, at which the published allocator gives up, is no obstacle, and neither is
// a donor whose room does not lie together.
TEST_F(PoolsConformance, ADonorNeedNotBeContiguous) {
  const std::vector<Handle> kept = TakeHalfOfThePages(true);
  EXPECT_TRUE(pools_.table().IsLive(kept.back())) << "the tail is in use";
  EXPECT_GT(Gather(state_), 0u);
  EXPECT_TRUE(pools_.CanAllocate(state_, 1));
}

TEST_F(PoolsConformance, ARefusalChangesNothing) {
  const std::vector<Handle> kept = TakeHalfOfThePages(/*movable=*/false);
  std::vector<base::BlockRef> refs;
  for (const Handle handle : kept) refs.push_back(pools_.Ref(handle));
  const PoolsSeen before = Look();
  EXPECT_EQ(Gather(state_), 0u);
  EXPECT_EQ(Look(), before);
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(pools_.Ref(kept[i]), refs[i]);
}

// "A recipient's failure rolls the donor back": room is made before anybody takes it, so the one
// failure left is that there is no handle for a copy; it is found before anything moves.
TEST_F(PoolsConformance, WithoutAHandleForACopyNothingMoves) {
  const auto arena = TestArena(kArenaBytes, kArenaBytes / kPage / 2);
  AsymmetricPools pools(arena.get());
  const PoolId page = pools.PoolFor(kPage).value();
  const PoolId state = pools.PoolFor(kState).value();
  std::vector<Handle> pages;
  const uint32_t got = pools.Allocate(page, kArenaBytes / kPage, &pages);
  for (const Handle handle : pages) {
    pools.SetOwner(handle, handle);
    pools.SetMovable(handle, true);
  }
  for (size_t i = 0; i < pages.size(); i += 2) pools.Free(pages[i]);
  std::vector<Handle> odd;
  const PoolId crumb = pools.PoolFor(64).value();
  pools.Allocate(crumb, got, &odd);  // takes the last handle
  ASSERT_EQ(pools.table().available(), 0u);
  const uint64_t used = pools.used_bytes();
  EXPECT_EQ(pools.GatherRoom(state, [](Handle, Handle) { FAIL() << "it moved a block"; }), 0u);
  EXPECT_EQ(pools.used_bytes(), used);
  EXPECT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
}

TEST_F(PoolsConformance, WhatIsMovedAddsUp) {
  TakeHalfOfThePages(true);
  uint64_t told = 0;
  uint64_t counted = 0;
  for (int i = 0; i < 4; ++i) {
    told += pools_.GatherRoom(state_, [&](Handle, Handle) { counted += kPage; });
    Take(state_, 1);
  }
  EXPECT_GT(told, 0u);
  EXPECT_EQ(told, counted);
}

// "Worked waste example": two slabs of 64 KiB become 24 KiB pages. The published allocator grows by
// 120 KiB and loses 8 KiB for good; here the 8 KiB stay free, for whoever they fit.
TEST_F(PoolsConformance, WorkedWasteExampleWastesNothing) {
  const auto arena = TestArena(128 << 10);
  AsymmetricPools pools(arena.get());
  const PoolId donor = pools.PoolFor(64 << 10).value();
  const PoolId recipient = pools.PoolFor(24 << 10).value();
  std::vector<Handle> handles;
  ASSERT_EQ(pools.Allocate(donor, 2, &handles), 2u);
  for (const Handle handle : handles) pools.Free(handle);
  handles.clear();
  EXPECT_EQ(pools.Allocate(recipient, 6, &handles), 5u);
  EXPECT_EQ(pools.used_bytes(), 120u << 10);
  EXPECT_EQ(pools.free_bytes(), 8u << 10);
  EXPECT_EQ(pools.remainder_bytes(), 0u);
  EXPECT_EQ(pools.Allocate(pools.PoolFor(8 << 10).value(), 1, &handles), 1u);
  EXPECT_EQ(pools.free_bytes(), 0u);
}

// --- two that are told the same
// --------------------------------------------------------------------

TEST_F(PoolsConformance, IdenticalCallsGiveIdenticalAnswers) {
  auto run = [](uint64_t seed) {
    const auto arena = TestArena(kArenaBytes);
    AsymmetricPools pools(arena.get());
    const PoolId ids[] = {pools.PoolFor(kPage).value(), pools.PoolFor(kState).value()};
    std::mt19937_64 random(seed);
    std::vector<Handle> live;
    std::vector<uint64_t> answers;
    for (int i = 0; i < 2000; ++i) {
      const PoolId pool = ids[random() % 2];
      const size_t before = live.size();
      if (random() % 2 == 0) pools.Allocate(pool, 1 + random() % 4, &live);
      for (size_t k = before; k < live.size(); ++k) {
        pools.SetOwner(live[k], k + 1);
        pools.SetMovable(live[k], true);
        answers.push_back(pools.Ref(live[k]).offset);
      }
      if (live.size() > 3 && random() % 2 == 0) {
        std::swap(live[random() % live.size()], live.back());
        pools.Free(live.back());
        live.pop_back();
      }
      answers.push_back(pools.GatherRoom(pool, [&](Handle from, Handle to) {
        *std::find(live.begin(), live.end(), from) = to;
        answers.push_back(to);
      }));
      answers.push_back(pools.free_bytes());
    }
    return answers;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

// --- ours
// ------------------------------------------------------------------------------------------

TEST_F(PoolsConformance, NothingThatMustStayMovesOrIsNamed) {
  std::map<Handle, base::BlockRef> pinned;
  for (int i = 0; i < 16; ++i) {
    const Handle handle = Take(page_, 1, /*movable=*/false)[0];
    pinned[handle] = pools_.Ref(handle);
    const std::vector<Handle> others = Take(page_, 15);
    for (const Handle other : others) pools_.SetPriority(other, 1);
    for (size_t k = 0; k < others.size(); k += 2) pools_.Free(others[k]);
  }
  for (int i = 0; i < 200; ++i) {
    const PoolId pool = i % 2 == 0 ? state_ : page_;
    pools_.GatherRoom(pool, [&](Handle from, Handle) { EXPECT_FALSE(pinned.contains(from)); });
    if (pools_.CanAllocate(pool, 1)) Take(pool, 1);
    if (const auto window = pools_.CheapestWindow(pool, 0)) {
      for (const auto& [handle, ref] : pinned) {
        EXPECT_FALSE(std::binary_search(window->owners.begin(), window->owners.end(),
                                        pools_.table().at(handle).owner));
      }
    }
  }
  for (const auto& [handle, ref] : pinned) EXPECT_EQ(pools_.Ref(handle), ref);
}

// Sizes that divide nothing evenly change places a thousand times; all of the arena is still there.
TEST_F(PoolsConformance, NoCapacityLeaksAway) {
  const PoolId odd[] = {pools_.PoolFor(24'001).value(), pools_.PoolFor(100'003).value(),
                        pools_.PoolFor(700'001).value(), page_, state_};
  const uint64_t most[] = {pools_.MaxBlocks(odd[0]), pools_.MaxBlocks(odd[1]),
                           pools_.MaxBlocks(odd[2]), pools_.MaxBlocks(page_),
                           pools_.MaxBlocks(state_)};
  for (int round = 0; round < 1000; ++round) {
    std::vector<Handle> handles;
    ASSERT_EQ(pools_.Allocate(odd[round % 5], 1u << 20, &handles), most[round % 5]) << round;
    FreeAll(handles);
    ASSERT_EQ(pools_.free_bytes(), kArenaBytes);
    ASSERT_EQ(pools_.remainder_bytes(), 0u);
  }
}

// "Batch of at least one", "threshold states and their ring buffer", "the forced path bypasses the
// throttle": ours moves what one block needs when it is asked, and has neither states nor throttle.

}  // namespace
}  // namespace cistern::storage
