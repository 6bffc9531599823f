#include "tools/bench/pools/product_policy.h"

#include <random>

#include "gtest/gtest.h"

#include "tools/bench/pools/admission.h"
#include "tools/bench/pools/published_policies.h"

namespace cistern::tools {
namespace {

PolicyOptions ProductOptions(uint64_t total_bytes, uint32_t requests) {
  return {.model = JambaPools(), .total_bytes = total_bytes, .num_requests = requests};
}

TEST(ProductPolicyTest, AFailedCallTakesNothing) {
  const auto ours = ProductPolicy::Create(ProductOptions(1 << 20, 2));
  ASSERT_TRUE(ours.ok()) << ours.status();
  ASSERT_TRUE((*ours)->Allocate(0, BlockKind::kPage, 10));
  const uint64_t used = (*ours)->pools().used_bytes();
  EXPECT_FALSE((*ours)->Allocate(1, BlockKind::kPage, 7));
  EXPECT_EQ((*ours)->pools().used_bytes(), used);
  EXPECT_TRUE((*ours)->Allocate(1, BlockKind::kPage, 6));
  EXPECT_FALSE((*ours)->MayFit({.pages = 1, .states = 0}));
  EXPECT_TRUE((*ours)->pools().CheckInvariants().ok());
}

TEST(ProductPolicyTest, AnEmptyArenaServesEitherKindWhole) {
  const auto ours = ProductPolicy::Create(ProductOptions(8 << 20, 1));
  ASSERT_TRUE(ours.ok()) << ours.status();
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE((*ours)->Allocate(0, BlockKind::kPage, 128));
    (*ours)->Release(0);
    ASSERT_TRUE((*ours)->Allocate(0, BlockKind::kState, 32));
    (*ours)->Release(0);
  }
  EXPECT_EQ((*ours)->pools().used_bytes(), 0u);
}

TEST(ProductPolicyTest, CapacityIsConservedUnderRandomUse) {
  const auto ours = ProductPolicy::Create(ProductOptions(64 << 20, 16));
  ASSERT_TRUE(ours.ok()) << ours.status();
  const storage::AsymmetricPools& pools = (*ours)->pools();
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) {
    const uint32_t request = random() % 16;
    if (random() % 3 == 0) {
      (*ours)->Release(request);
    } else {
      (*ours)->Allocate(request, random() % 4 == 0 ? BlockKind::kState : BlockKind::kPage,
                        1 + random() % 60);
    }
    ASSERT_TRUE(pools.CheckInvariants().ok()) << pools.CheckInvariants();
    ASSERT_EQ(pools.used_bytes() + pools.free_bytes() + pools.remainder_bytes(),
              pools.arena_bytes());
  }
}

TEST(ProductPolicyTest, NoArenaWithoutBytes) {
  EXPECT_EQ(ProductPolicy::Create(ProductOptions(0, 1)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// Half of every slab is free, no slab is whole: states have room only where pages have moved. Every
// request still finds its own blocks afterwards.
TEST(ProductPolicyTest, ScatteredHolesBecomeRoomByMovingBlocks) {
  constexpr uint32_t kRequests = 16;
  const auto made = ProductPolicy::Create(ProductOptions(8 << 20, kRequests + 1));  // 128 pages
  ASSERT_TRUE(made.ok()) << made.status();
  ProductPolicy& ours = **made;
  for (uint32_t page = 0; page < 128; ++page) {
    ASSERT_TRUE(ours.Allocate(page % kRequests, BlockKind::kPage, 1));
  }
  for (uint32_t request = 0; request < kRequests; request += 2) ours.Release(request);
  EXPECT_EQ(ours.counts().moved_bytes, 0u);
  ASSERT_TRUE(ours.Allocate(kRequests, BlockKind::kState, 16));  // all of the other half
  EXPECT_GE(ours.counts().moved_bytes, 32u * 64 * 1024);  // at the least half of the pages left
  EXPECT_EQ(ours.pools().used_bytes(), 8u << 20);
  EXPECT_TRUE(ours.pools().CheckInvariants().ok()) << ours.pools().CheckInvariants();
  EXPECT_FALSE(ours.Allocate(0, BlockKind::kPage, 1));
  for (uint32_t request = 1; request < kRequests; request += 2) {
    ours.Release(request);
    ASSERT_TRUE(ours.pools().CheckInvariants().ok()) << ours.pools().CheckInvariants();
  }
  EXPECT_EQ(ours.pools().used_bytes(), 4u << 20);
  ours.Release(kRequests);
  EXPECT_EQ(ours.pools().used_bytes(), 0u);
}

// Half of the pages are free, in no piece that holds a state; when states come tick after tick, the
// predictor has moved pages for them before all of them are asked for.
TEST(ProductPolicyTest, ThePredictorMakesRoomBetweenCalls) {
  auto made = ProductPolicy::Create(ProductOptions(64 << 20, 40), /*predict=*/true);
  ASSERT_TRUE(made.ok()) << made.status();
  ProductPolicy& ours = **made;
  for (uint32_t page = 0; page < 1024; ++page)
    ASSERT_TRUE(ours.Allocate(page % 2, BlockKind::kPage, 1));
  ours.Tick(1);
  ours.Release(0);
  ours.Tick(10'000);  // what pages did is long ago
  for (uint32_t i = 0; i < 30; ++i) {
    ASSERT_TRUE(ours.Allocate(2 + i, BlockKind::kState, 1));
    ours.Tick(10'000 + 10 * (i + 1));
    ASSERT_TRUE(ours.pools().CheckInvariants().ok()) << ours.pools().CheckInvariants();
  }
  const PolicyCounts counts = ours.counts();
  EXPECT_GT(counts.ahead_bytes, 0u);
  EXPECT_LT(counts.ahead_bytes, counts.moved_bytes) << "the first state came unforeseen";
  EXPECT_LT(counts.rebalances, 5u);
  EXPECT_EQ(ours.pools().used_bytes(), 512u * (64 << 10) + 30u * (256 << 10));
}

// A request that fits the arena is never rejected, and no request is lost.
TEST(ProductPolicyTest, EveryRequestThatFitsIsServed) {
  std::mt19937 random(9);
  std::vector<PoolRequest> requests(200);
  for (uint32_t i = 0; i < requests.size(); ++i) {
    requests[i] = {.arrival = i,
                   .prompt = 1 + static_cast<uint32_t>(random() % 3000),
                   .generated = static_cast<uint32_t>(random() % 200)};
  }
  const PolicyOptions options = ProductOptions(64 << 20, 200);  // the largest needs 57 MiB
  const auto ours = ProductPolicy::Create(options);
  ASSERT_TRUE(ours.ok()) << ours.status();
  const AdmissionResult served = RunAdmission(requests, **ours);
  EXPECT_EQ(served.completed, 200u);
  EXPECT_EQ(served.rejected, 0u);
  SharedPolicy shared(options);
  EXPECT_GE(served.makespan_ticks, RunAdmission(requests, shared).makespan_ticks);
}

}  // namespace
}  // namespace cistern::tools
