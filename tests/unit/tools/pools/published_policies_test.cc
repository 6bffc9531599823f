#include "tools/bench/pools/published_policies.h"

#include <random>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

// 64 bytes a page, 256 a state: small numbers with the proportions of jamba.
PolicyOptions SmallOptions(uint64_t total_bytes, bool evict = true) {
  return {.model = {.name = "small", .page_bytes = 64, .state_bytes = 256},
          .total_bytes = total_bytes,
          .num_requests = 16,
          .evict = evict};
}

TEST(PublishedPoliciesTest, SizesOfTheTwoModels) {
  EXPECT_EQ(JambaPools().page_bytes, 65536u);
  EXPECT_EQ(JambaPools().state_bytes, 262144u);
  EXPECT_EQ(Mamba2Pools().state_bytes, 2097152u);
  EXPECT_EQ(PagesFor(0), 1u);
  EXPECT_EQ(PagesFor(16), 1u);
  EXPECT_EQ(PagesFor(17), 2u);
}

TEST(PublishedPoliciesTest, APaddedPageTakesTheLargerSize) {
  PaddedPolicy padded(SmallOptions(1024));
  EXPECT_TRUE(padded.MayFit({.pages = 4, .states = 0}));
  EXPECT_FALSE(padded.MayFit({.pages = 4, .states = 1}));
  SplitPolicy split(SmallOptions(1024), 0.5, 0);
  EXPECT_TRUE(split.MayFit({.pages = 8, .states = 2}));
  EXPECT_FALSE(split.MayFit({.pages = 9, .states = 0}));
  EXPECT_FALSE(split.MayFit({.pages = 0, .states = 3}));
}

TEST(PublishedPoliciesTest, TheOldestRunningRequestLosesItsBlocks) {
  SplitPolicy split(SmallOptions(1024), 0.5, 0);
  ASSERT_TRUE(split.Allocate(0, BlockKind::kPage, 4));
  ASSERT_TRUE(split.Allocate(1, BlockKind::kPage, 4));
  ASSERT_TRUE(split.Allocate(2, BlockKind::kPage, 2));
  EXPECT_TRUE(split.damaged(0));
  EXPECT_FALSE(split.damaged(1));
  EXPECT_EQ(split.counts().live_evictions, 1u);
  split.Release(0);  // what it had is someone else's now
  EXPECT_TRUE(split.MayFit({.pages = 2, .states = 2}));
  EXPECT_FALSE(split.MayFit({.pages = 3, .states = 2}));
}

TEST(PublishedPoliciesTest, EvictionStaysInItsPool) {
  SplitPolicy split(SmallOptions(1024), 0.5, 0);
  ASSERT_TRUE(split.Allocate(0, BlockKind::kState, 2));
  ASSERT_TRUE(split.Allocate(1, BlockKind::kPage, 8));
  EXPECT_FALSE(split.Allocate(2, BlockKind::kPage, 9));
  EXPECT_FALSE(split.damaged(0));
  EXPECT_TRUE(split.damaged(1));
}

TEST(PublishedPoliciesTest, APaddedNumberNamesWhoeverHasTheBlockNow) {
  PaddedPolicy padded(SmallOptions(1024));
  ASSERT_TRUE(padded.Allocate(0, BlockKind::kPage, 4));
  ASSERT_TRUE(padded.Allocate(1, BlockKind::kPage, 3));  // takes the place of 0
  EXPECT_TRUE(padded.damaged(0));
  EXPECT_FALSE(padded.damaged(1));
  padded.Release(0);  // and so frees the blocks of 1
  EXPECT_TRUE(padded.damaged(1));
  EXPECT_TRUE(padded.MayFit({.pages = 4, .states = 0}));
  padded.Release(1);  // finds nothing of its own: no block is freed twice
  EXPECT_FALSE(padded.MayFit({.pages = 5, .states = 0}));
  EXPECT_EQ(padded.counts().operations, 4u + 4 + 3 + 3);
}

TEST(PublishedPoliciesTest, CapacityMovesFromStatesToPages) {
  SplitPolicy avmp(SmallOptions(1024, false), 0.5, 1);
  ASSERT_TRUE(avmp.Allocate(0, BlockKind::kPage, 12));
  EXPECT_EQ(avmp.migrations(), 1u);
  EXPECT_EQ(avmp.counts().moved_bytes, 256u);
  EXPECT_EQ(avmp.num_blocks(BlockKind::kPage), 12u);
  EXPECT_EQ(avmp.num_blocks(BlockKind::kState), 1u);
  EXPECT_EQ(avmp.wasted_bytes(), 0u);
}

TEST(PublishedPoliciesTest, CapacityMovesFromPagesToStates) {
  SplitPolicy avmp(SmallOptions(1024, false), 0.5, 4);
  ASSERT_TRUE(avmp.Allocate(0, BlockKind::kState, 3));
  EXPECT_EQ(avmp.num_blocks(BlockKind::kPage), 4u);
  EXPECT_EQ(avmp.num_blocks(BlockKind::kState), 3u);
}

TEST(PublishedPoliciesTest, ABatchSmallerThanAStateIsLost) {
  SplitPolicy avmp(SmallOptions(1024, false), 0.5, 3);
  EXPECT_FALSE(avmp.Allocate(0, BlockKind::kState, 3));
  EXPECT_EQ(avmp.migrations(), 1u);
  EXPECT_EQ(avmp.num_blocks(BlockKind::kPage), 5u);
  EXPECT_EQ(avmp.num_blocks(BlockKind::kState), 2u);
  EXPECT_EQ(avmp.wasted_bytes(), 192u);
}

// Its authors' worked example: two blocks of 64 KiB become pages of 24 KiB.
TEST(PublishedPoliciesTest, WorkedWasteExample) {
  PolicyOptions options = SmallOptions(768 << 10, false);
  options.model.page_bytes = 24 << 10;
  options.model.state_bytes = 64 << 10;
  SplitPolicy avmp(options, 0.5, 2);  // 16 pages, 6 states
  ASSERT_TRUE(avmp.Allocate(0, BlockKind::kPage, 17));
  EXPECT_EQ(avmp.num_blocks(BlockKind::kPage), 16u + 5);  // 120 KiB more
  EXPECT_EQ(avmp.num_blocks(BlockKind::kState), 4u);
  EXPECT_EQ(avmp.counts().moved_bytes, 128u << 10);
  EXPECT_EQ(avmp.wasted_bytes(), 8u << 10);
}

TEST(PublishedPoliciesTest, AUsedTailIsNoDonor) {
  SplitPolicy avmp(SmallOptions(1024, false), 0.5, 1);
  ASSERT_TRUE(avmp.Allocate(0, BlockKind::kState, 1));
  ASSERT_TRUE(avmp.Allocate(1, BlockKind::kState, 1));
  avmp.Release(0);  // number 0 is free, the tail is not
  EXPECT_FALSE(avmp.Allocate(2, BlockKind::kPage, 9));
  EXPECT_EQ(avmp.migrations(), 0u);
  EXPECT_EQ(avmp.num_blocks(BlockKind::kState), 2u);
  EXPECT_EQ(avmp.counts().moved_bytes, 0u);
}

// Three attempts that fail leave the free numbers the other way round: the next state is cut from
// the tail, and its pool cannot give any more.
TEST(PublishedPoliciesTest, FailedAttemptsTurnTheFreeNumbersRound) {
  SplitPolicy avmp(SmallOptions(1024), 0.5, 1);
  EXPECT_FALSE(avmp.Allocate(0, BlockKind::kState, 3));
  EXPECT_EQ(avmp.migrations(), 1u);  // a page, for nothing
  ASSERT_TRUE(avmp.Allocate(1, BlockKind::kState, 1));
  EXPECT_FALSE(avmp.Allocate(2, BlockKind::kPage, 8));
  EXPECT_EQ(avmp.migrations(), 1u);
}

TEST(PublishedPoliciesTest, OneEvictionAndOneMigrationAtMost) {
  SplitPolicy avmp(SmallOptions(1024), 0.5, 1);
  ASSERT_TRUE(avmp.Allocate(0, BlockKind::kPage, 4));
  ASSERT_TRUE(avmp.Allocate(1, BlockKind::kPage, 4));
  EXPECT_FALSE(avmp.Allocate(2, BlockKind::kPage, 16));
  EXPECT_EQ(avmp.counts().live_evictions, 1u);
  EXPECT_EQ(avmp.migrations(), 1u);
  EXPECT_FALSE(avmp.damaged(1));
}

TEST(PublishedPoliciesTest, WithoutABatchAvmpIsStatic) {
  SplitPolicy fixed(SmallOptions(4096), 0.3, 0), avmp(SmallOptions(4096), 0.3, 200);
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {  // 200 blocks are more than any pool has: it can never give them
    const uint32_t request = random() % 16;
    if (random() % 3 == 0) {
      fixed.Release(request);
      avmp.Release(request);
      continue;
    }
    const BlockKind kind = random() % 2 == 0 ? BlockKind::kPage : BlockKind::kState;
    const uint32_t count = 1 + random() % 5;
    ASSERT_EQ(fixed.Allocate(request, kind, count), avmp.Allocate(request, kind, count));
  }
  EXPECT_EQ(fixed.counts().live_evictions, avmp.counts().live_evictions);
  EXPECT_GT(fixed.counts().live_evictions, 0u);
  EXPECT_EQ(avmp.migrations(), 0u);
}

TEST(PublishedPoliciesTest, CapacityIsConservedUnderRandomUse) {
  for (const uint32_t batch : {1u, 3u, 4u, 7u}) {
    SplitPolicy avmp(SmallOptions(16384), 0.5, batch);
    std::mt19937 random(batch);
    for (int i = 0; i < 2000; ++i) {
      const uint32_t request = random() % 16;
      if (random() % 3 == 0) {
        avmp.Release(request);
      } else {
        avmp.Allocate(request, random() % 4 == 0 ? BlockKind::kState : BlockKind::kPage,
                      1 + random() % 30);
      }
      ASSERT_EQ(avmp.num_blocks(BlockKind::kPage) * 64 + avmp.num_blocks(BlockKind::kState) * 256 +
                    avmp.wasted_bytes(),
                16384u);
    }
    EXPECT_GT(avmp.migrations(), 0u);
  }
}

TEST(PublishedPoliciesTest, SharedIsACounterOfBytes) {
  SharedPolicy shared(SmallOptions(640));
  EXPECT_TRUE(shared.Allocate(0, BlockKind::kState, 2));
  EXPECT_FALSE(shared.Allocate(1, BlockKind::kPage, 3));
  EXPECT_TRUE(shared.Allocate(1, BlockKind::kPage, 2));
  shared.Release(0);
  EXPECT_TRUE(shared.MayFit({.pages = 0, .states = 2}));
  EXPECT_FALSE(shared.MayFit({.pages = 1, .states = 2}));
}

TEST(PublishedPoliciesTest, WithoutEvictionNothingIsLost) {
  PaddedPolicy padded(SmallOptions(1024, false));
  SplitPolicy split(SmallOptions(1024, false), 0.5, 0);
  for (PoolPolicy* policy : std::initializer_list<PoolPolicy*>{&padded, &split}) {
    ASSERT_TRUE(policy->Allocate(0, BlockKind::kPage, 4));
    EXPECT_FALSE(policy->Allocate(1, BlockKind::kPage, 5));
    EXPECT_FALSE(policy->damaged(0));
    EXPECT_EQ(policy->counts().live_evictions, 0u);
  }
}

TEST(PolicyNameTest, NamesAndWhatIsWrongWithOthers) {
  const auto avmp = ParsePolicyName("avmp 128");
  ASSERT_TRUE(avmp.ok()) << avmp.status();
  EXPECT_EQ(avmp->batch, 128u);
  EXPECT_TRUE(avmp->lossy());
  const auto fixed = ParsePolicyName("static 0.9");
  ASSERT_TRUE(fixed.ok()) << fixed.status();
  EXPECT_EQ(fixed->ratio, 0.9);
  EXPECT_FALSE(ParsePolicyName("ours")->lossy());
  EXPECT_FALSE(ParsePolicyName("shared")->lossy());
  EXPECT_FALSE(ParsePolicyName("ours+predictor")->lossy());
  for (const char* bad : {"", "static", "static 0", "static 1", "static x", "static nan", "avmp 0",
                          "avmp 257", "avmp", "lru"}) {
    EXPECT_EQ(ParsePolicyName(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace cistern::tools
