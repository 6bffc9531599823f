// Handles, and one pool. pools_conformance.h says where the items are from; what cannot apply to
// ours is said where it would stand.
#include "tests/unit/storage/pools_conformance.h"

#include <algorithm>
#include <random>
#include <set>
#include <type_traits>

namespace cistern::storage {
namespace {

// --- handles and the page table ------------------------------------------------------------------

// "Frozen, hashable, slots": a reference is a plain value of 16 bytes.
static_assert(std::is_trivially_copyable_v<base::BlockRef> && sizeof(base::BlockRef) == 16);

TEST_F(PoolsConformance, ReferencesCompareByEveryField) {
  const base::BlockRef ref = pools_.Ref(Take(page_, 1)[0]);
  base::BlockRef other = ref;
  EXPECT_EQ(other, ref);
  other.handle += 1;
  EXPECT_NE(other, ref);
  other = ref;
  other.generation += 1;
  EXPECT_NE(other, ref);
  other = ref;
  other.offset += 16;
  EXPECT_NE(other, ref);
}

// Theirs ascend across kinds; ours with the addresses within a slab, so that an object's are a run.
TEST_F(PoolsConformance, HandlesAscendWithinASlabAndDifferAcrossKinds) {
  std::vector<Handle> pages;
  std::set<Handle> given;
  for (int i = 0; i < 4; ++i) {  // a slab's worth of pages
    pages.push_back(Take(page_, 1)[0]);
    EXPECT_TRUE(given.insert(pages[i]).second);
    EXPECT_EQ(pages[i], pages[0] + i);
    EXPECT_EQ(pools_.Ref(pages[i]).offset, pools_.Ref(pages[0]).offset + i * kPage);
    EXPECT_TRUE(given.insert(Take(state_, 1)[0]).second);
  }
  EXPECT_EQ(pools_.counts(page_).slabs, 1u);
}

// A handle's number comes back, its generation does not: the pair is never used again, under any
// pressure.
TEST_F(PoolsConformance, NoReferenceIsGivenTwice) {
  const auto arena = TestArena(1 << 20, 8);
  AsymmetricPools pools(arena.get());
  const PoolId pool = pools.PoolFor(4096).value();
  std::set<std::pair<Handle, uint32_t>> given;
  std::vector<Handle> handles;
  for (int i = 0; i < 500; ++i) {
    handles.clear();
    pools.Allocate(pool, 7, &handles);
    for (const Handle handle : handles)
      EXPECT_TRUE(given.emplace(handle, pools.Ref(handle).generation).second);
    for (const Handle handle : handles) pools.Free(handle);
  }
  EXPECT_EQ(given.size(), 3500u);
}

TEST_F(PoolsConformance, AFreedHandleIsAnError) {
  const Handle handle = Take(page_, 1)[0];
  const base::BlockRef ref = pools_.Ref(handle);
  pools_.Free(handle);
  EXPECT_TRUE(absl::IsFailedPrecondition(pools_.Resolve(ref).status()));
}

// "Misaligned free rejected, negative offset": an offset cannot be negative here, and one that is
// not the block's resolves to nothing.
TEST_F(PoolsConformance, AnOffsetThatIsNotTheBlocksIsRefused) {
  base::BlockRef ref = pools_.Ref(Take(page_, 1)[0]);
  ref.offset += 1;
  EXPECT_TRUE(absl::IsFailedPrecondition(pools_.Resolve(ref).status()));
}

TEST_F(PoolsConformance, RandomMintAndRemoveKeepCountAndBytes) {
  std::mt19937_64 random(4);
  std::vector<std::pair<Handle, uint64_t>> live;  // handle, bytes
  uint64_t bytes = 0;
  for (int i = 0; i < 500; ++i) {
    if (live.empty() || random() % 2 == 0) {
      const PoolId pool = random() % 4 == 0 ? state_ : page_;
      if (!pools_.CanAllocate(pool, 1)) continue;
      live.emplace_back(Take(pool, 1)[0], pools_.counts(pool).block_bytes);
      bytes += live.back().second;
    } else {
      std::swap(live[random() % live.size()], live.back());
      bytes -= live.back().second;
      pools_.Free(live.back().first);
      live.pop_back();
    }
    ASSERT_EQ(pools_.table().live(), live.size());
    ASSERT_EQ(pools_.used_bytes(), bytes);
    ASSERT_TRUE(pools_.CheckInvariants().ok());
  }
}

// --- one pool
// --------------------------------------------------------------------------------------

TEST_F(PoolsConformance, FreshBlocksAscendAligned) {
  uint64_t last = 0;
  for (const PoolId pool : {page_, state_}) {
    for (const Handle handle : Take(pool, 20)) {
      const base::BlockRef ref = pools_.Ref(handle);
      EXPECT_GT(ref.offset, last);
      EXPECT_EQ(ref.offset % AsymmetricPools::kBlockAlign, 0u);
      if (pools_.table().at(handle).index == 0) {
        EXPECT_EQ(ref.offset % AsymmetricPools::kSlabAlign, 0u) << "a slab begins here";
      }
      last = ref.offset;
    }
  }
}

TEST_F(PoolsConformance, UsedAndFreeAreTheWhole) {
  EXPECT_EQ(pools_.free_bytes(), kArenaBytes);
  const std::vector<Handle> pages = Take(page_, 100);
  EXPECT_EQ(pools_.used_bytes(), 100 * kPage);
  EXPECT_EQ(pools_.free_bytes(), kArenaBytes - 100 * kPage);
  FreeAll(pages);
  EXPECT_EQ(pools_.free_bytes(), kArenaBytes);
}

TEST_F(PoolsConformance, AFreedPlaceIsUsedAgain) {
  const std::vector<Handle> pages = Take(page_, 2);
  const uint64_t place = pools_.Ref(pages[1]).offset;
  pools_.Free(pages[1]);
  EXPECT_EQ(pools_.Ref(Take(page_, 1)[0]).offset, place);
}

TEST_F(PoolsConformance, AFullArenaGivesNothing) {
  Take(page_, kArenaBytes / kPage);
  const PoolsSeen before = Look();
  std::vector<Handle> none;
  EXPECT_FALSE(pools_.CanAllocate(page_, 1));
  EXPECT_EQ(pools_.Allocate(page_, 1, &none), 0u);
  EXPECT_EQ(pools_.Allocate(state_, 1, &none), 0u);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(Look(), before);
}

TEST_F(PoolsConformance, KindsAreIndependent) {
  const std::vector<Handle> states = Take(state_, 8);
  std::vector<base::BlockRef> refs;
  for (const Handle handle : states) refs.push_back(pools_.Ref(handle));
  for (int i = 0; i < 20; ++i) FreeAll(Take(page_, 100));
  for (size_t i = 0; i < states.size(); ++i) EXPECT_EQ(pools_.Ref(states[i]), refs[i]);
  EXPECT_EQ(pools_.counts(state_).blocks_used, 8u);
}

TEST_F(PoolsConformance, APageTakesNoMoreThanAPage) {
  EXPECT_EQ(pools_.MaxBlocks(page_), kArenaBytes / kPage);
  EXPECT_EQ(pools_.MaxBlocks(state_), kArenaBytes / kState);
}

TEST_F(PoolsConformance, NoneAskedForNoneTaken) {
  const PoolsSeen before = Look();
  EXPECT_TRUE(Take(page_, 0).empty());
  EXPECT_EQ(Look(), before) << "no slab is cut for it";
  EXPECT_TRUE(absl::IsInvalidArgument(pools_.PoolFor(0).status()));
}

TEST_F(PoolsConformance, MixedKindsCanGoInAnyOrder) {
  std::vector<Handle> all = Take(page_, 40);
  for (const Handle handle : Take(state_, 20)) all.push_back(handle);
  for (const Handle handle : Take(page_, 40)) all.push_back(handle);
  std::shuffle(all.begin(), all.end(), std::mt19937_64(2));
  FreeAll(all);
  EXPECT_EQ(pools_.free_bytes(), kArenaBytes);
}

// Also what stands for "free of the unknown", "deduplication" and "eviction after departure".
TEST_F(PoolsConformance, FreeingTwiceFreesOnce) {
  const Handle handle = Take(page_, 2)[0];
  pools_.Free(handle);
  const PoolsSeen before = Look();
  pools_.Free(handle);
  pools_.Free(kNoHandle);
  pools_.Free(1'000'000);
  EXPECT_EQ(Look(), before);
  EXPECT_TRUE(absl::IsFailedPrecondition(pools_.Resolve({.handle = handle}).status()));
}

// The pools evict nothing themselves, so "eviction in the same pool only" has no counterpart; they
// name a stretch, and it holds nothing that has gone or must stay.
TEST_F(PoolsConformance, AWindowNamesOnlyWhatIsThereAndMayGo) {
  const std::vector<Handle> pages = Take(page_, kArenaBytes / kPage);
  for (const Handle handle : pages) pools_.SetPriority(handle, 5);
  std::set<uint64_t> gone;
  for (size_t i = 0; i < 32; i += 2) {
    gone.insert(pools_.table().at(pages[i]).owner);
    pools_.Free(pages[i]);
  }
  const auto window = pools_.CheapestWindow(state_, 0);
  ASSERT_TRUE(window.has_value());
  for (const uint64_t owner : window->owners) EXPECT_FALSE(gone.contains(owner));
}

}  // namespace
}  // namespace cistern::storage
