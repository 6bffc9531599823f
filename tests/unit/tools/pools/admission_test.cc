#include "tools/bench/pools/admission.h"

#include "gtest/gtest.h"

#include "tools/bench/pools/open_loop.h"
#include "tools/bench/pools/published_policies.h"

namespace cistern::tools {
namespace {

// 64 bytes a page: a request of 16 tokens has 4 pages and 28 states of 16 bytes, 704 bytes in all.
constexpr uint64_t kOneRequest = 4 * 64 + 28 * 16;
PolicyOptions AdmissionOptions(uint64_t total_bytes, uint32_t requests) {
  return {.model = {.name = "small", .page_bytes = 64, .state_bytes = 16},
          .total_bytes = total_bytes,
          .num_requests = requests,
          .evict = false};
}

AdmissionResult Shared(const std::vector<PoolRequest>& requests, uint64_t bytes) {
  SharedPolicy shared(AdmissionOptions(bytes, static_cast<uint32_t>(requests.size())));
  return RunAdmission(requests, shared);
}

TEST(AdmissionTest, OneAfterTheOtherWhenOnlyOneFits) {
  const AdmissionResult result =
      Shared({{.arrival = 5, .prompt = 10, .generated = 6}, {5, 10, 6}, {100, 10, 6}}, kOneRequest);
  EXPECT_EQ(result.completed, 3u);
  EXPECT_EQ(result.makespan_ticks, 116u);  // 5..21, 21..37, 100..116
  EXPECT_DOUBLE_EQ(result.mean_wait_ticks, 16.0 / 3);
}

TEST(AdmissionTest, NobodyPassesTheHeadOfTheLine) {
  // The second needs the whole memory; the third would fit beside the first, and waits all the
  // same.
  const AdmissionResult result =
      Shared({{0, 10, 6}, {1, 60, 68}, {2, 10, 6}}, 8 * 4 * 64 + 28 * 16);
  EXPECT_EQ(result.makespan_ticks, 16u + 128 + 16);
  EXPECT_DOUBLE_EQ(result.mean_wait_ticks, (15 + 142) / 3.0);
}

TEST(AdmissionTest, WhatNeverFitsIsRejectedAndHoldsNobodyUp) {
  const AdmissionResult result = Shared({{0, 10, 6}, {0, 10, 7}, {0, 10, 6}}, kOneRequest);
  EXPECT_EQ(result.rejected, 1u);
  EXPECT_EQ(result.completed, 2u);
  EXPECT_EQ(result.makespan_ticks, 32u);
}

TEST(AdmissionTest, WholeFootprintIsReserved) {
  // A prompt of one page that grows to two: both are taken at the start.
  const std::vector<PoolRequest> requests = {{0, 16, 16}, {0, 16, 0}};
  EXPECT_EQ(Shared(requests, 12 * 64 + 2 * 28 * 16).makespan_ticks, 32u);
  EXPECT_EQ(Shared(requests, 11 * 64 + 2 * 28 * 16).makespan_ticks, 48u);
}

TEST(AdmissionTest, AnIdleSplitMovesAsOftenAsItMust) {
  // Half of 2816 bytes are 22 pages; 28 are needed, and every attempt moves 4 states: one page.
  SplitPolicy avmp(AdmissionOptions(2816, 1), 0.5, 4);
  const AdmissionResult result = RunAdmission({{0, 100, 12}}, avmp);
  EXPECT_EQ(result.completed, 1u);
  EXPECT_EQ(avmp.num_blocks(BlockKind::kPage), 28u);
  EXPECT_EQ(avmp.migrations(), 6u);
}

TEST(OpenLoopTest, CountsFailedCallsNotRequests) {
  // 24 pages, 24 states: an arrival asks for 4 pages and 28 states, and 4 of these calls fail after
  // evicting the asker itself; nobody else is there.
  PolicyOptions options = AdmissionOptions(24ull * 80, 1);
  SplitPolicy split(options, 0.2, 0);
  const OpenLoopResult result = RunOpenLoop({{0, 10, 6}}, split);
  EXPECT_EQ(result.oom, 4u);
  EXPECT_EQ(result.completed, 0u);
}

TEST(OpenLoopTest, GrowthAsksAtEverySixteenthTokenUntilDeparture) {
  // 16 + 33 tokens: a second page at token 17, a third at 33; token 49 departs instead of asking.
  SplitPolicy split(AdmissionOptions(12 * 64 + 28 * 16, 1), 28 * 16.0 / (12 * 64 + 28 * 16), 0);
  const OpenLoopResult result = RunOpenLoop({{3, 16, 33}}, split);
  EXPECT_EQ(result.oom, 0u);
  EXPECT_EQ(result.intact, 1u);
  EXPECT_EQ(split.counts().operations, 2 * (12u + 28));
}

TEST(OpenLoopTest, DeparturesComeBeforeArrivalsOfTheSameTick) {
  PolicyOptions options = AdmissionOptions(kOneRequest, 2);
  options.evict = true;
  SplitPolicy split(options, 28 * 16.0 / kOneRequest, 0);
  const OpenLoopResult result = RunOpenLoop({{0, 8, 8}, {16, 8, 8}}, split);
  EXPECT_EQ(result.intact, 2u);
  EXPECT_EQ(split.counts().live_evictions, 0u);
}

TEST(OpenLoopTest, ARequestThatLostBlocksCompletesButIsNotIntact) {
  PolicyOptions options = AdmissionOptions(kOneRequest, 2);
  options.evict = true;
  SplitPolicy split(options, 28 * 16.0 / kOneRequest, 0);
  const OpenLoopResult result = RunOpenLoop({{0, 8, 8}, {15, 8, 8}}, split);
  EXPECT_EQ(result.completed, 2u);
  EXPECT_EQ(result.intact, 1u);
  EXPECT_EQ(split.counts().live_evictions, 2u);  // its pages and its states
}

}  // namespace
}  // namespace cistern::tools
