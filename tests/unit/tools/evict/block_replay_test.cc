// The replay against counts by hand, and Belady's optimum against every possible schedule.
#include "tools/bench/evict/block_replay.h"

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <random>

#include "gtest/gtest.h"

#include "tools/bench/evict/block_names.h"

namespace cistern::tools {
namespace {

BlockTrace TraceOf(const std::vector<std::vector<uint64_t>>& prompts) {
  BlockTrace trace;
  BlockNames names;
  for (const std::vector<uint64_t>& prompt : prompts) {
    BlockRequest request{.input_tokens = static_cast<uint32_t>(prompt.size() * kTraceBlockTokens)};
    std::optional<uint32_t> parent;
    for (const uint64_t hash : prompt) {
      parent = names.Number(parent, hash);
      request.blocks.push_back(*parent);
    }
    trace.requests.push_back(request);
  }
  trace.num_blocks = names.count();
  return trace;
}

BlockReplay Replay(const BlockTrace& trace, uint64_t capacity, absl::string_view name,
                   const base::ModelSpec& model = {}) {
  storage::KeyedPolicy policy(*storage::MakeEvictionPolicy(name));
  return ReplayBlocks(trace, model, capacity, policy);
}

TEST(BlockReplayTest, OnlyTheLongestBeginningHits) {
  const BlockTrace trace = TraceOf({{1, 2, 3}, {1, 2, 4}, {5, 2, 3}});
  const BlockReplay replay = Replay(trace, 100, "lru");
  EXPECT_EQ(replay.blocks, 9u);
  EXPECT_EQ(replay.hit_blocks, 2u) << "after 5, 2 is another block";
  EXPECT_EQ(replay.hit_tokens, 1024u);
  EXPECT_DOUBLE_EQ(replay.hit_ratio(), 2.0 / 9);
}

TEST(BlockReplayTest, APromptLongerThanTheCacheIsKeptInPart) {
  const BlockTrace trace = TraceOf({{1, 2, 3, 4}, {1, 2, 3, 4}, {9}, {1, 2}});
  for (const absl::string_view name : storage::EvictionPolicyNames()) {
    // Three of four, twice; 9 takes the place of 3; then 1 and 2.
    EXPECT_EQ(Replay(trace, 3, name).hit_blocks, 3u + 2) << name;
  }
}

TEST(BlockReplayTest, ACacheOfOneBlockWorks) {
  const BlockTrace trace = TraceOf({{1, 2}, {1}, {3}, {3}});
  for (const absl::string_view name : storage::EvictionPolicyNames()) {
    EXPECT_EQ(Replay(trace, 1, name).hit_blocks, 2u) << name;
  }
  EXPECT_EQ(ReplayBelady(trace, {}, 1).hit_blocks, 2u);
}

TEST(BlockReplayTest, CostGrowsWithDepthAndHitsSaveIt) {
  base::ModelSpec model;
  model.flops_per_token = 1000;
  model.flops_per_token_pair = 2;
  BlockTrace trace = TraceOf({{1, 2}, {1, 2}});
  for (BlockRequest& request : trace.requests) request.input_tokens = 612;
  const double first = 512 * 1000.0 + 2.0 * 512 * 513 / 2;
  const double second = 100 * 1000.0 + 2.0 * (100 * 512 + 100 * 101 / 2.0);
  EXPECT_DOUBLE_EQ(BlockCost(model, trace.requests[0], 0), first);
  EXPECT_DOUBLE_EQ(BlockCost(model, trace.requests[0], 1), second);
  const BlockReplay replay = Replay(trace, 10, "value", model);
  EXPECT_DOUBLE_EQ(replay.saved_cost, first + second);
  EXPECT_DOUBLE_EQ(replay.cost_saved(), 0.5);
  EXPECT_EQ(replay.hit_tokens, 612u);
  EXPECT_DOUBLE_EQ(BlockCost({}, trace.requests[0], 1), 100) << "a model without figures";
}

// Up to 4 prompts' tails under 2 roots: small enough for all schedules.
BlockTrace TinyTrace(uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::vector<uint64_t>> prompts(10);
  for (std::vector<uint64_t>& prompt : prompts) {
    const uint64_t length = 1 + random() % 3;
    for (uint64_t i = 0; i < length; ++i) prompt.push_back(random() % 2);
  }
  return TraceOf(prompts);
}

// The most block hits that any schedule can have that keeps beginnings only and takes in nothing
// but the prompt's own blocks: all sets of blocks, prompt by prompt.
uint64_t MostHits(const BlockTrace& trace, int capacity) {
  std::vector<uint32_t> above(trace.num_blocks, 0);  // the blocks before it, as bits
  for (const BlockRequest& request : trace.requests) {
    uint32_t before = 0;
    for (const uint32_t block : request.blocks) {
      above[block] = before;
      before |= 1u << block;
    }
  }
  std::vector<uint32_t> allowed;  // sets that fit and have every block's beginning
  for (uint32_t set = 0; set < (1u << trace.num_blocks); ++set) {
    bool whole = std::popcount(set) <= capacity;
    for (uint32_t b = 0; b < trace.num_blocks; ++b) {
      whole = whole && ((set >> b & 1) == 0 || (above[b] & ~set) == 0);
    }
    if (whole) allowed.push_back(set);
  }
  std::map<uint32_t, uint64_t> best = {{0, 0}};  // what is cached ─► hits so far
  for (const BlockRequest& request : trace.requests) {
    uint32_t path = 0;
    for (const uint32_t block : request.blocks) path |= 1u << block;
    std::map<uint32_t, uint64_t> next;
    for (const auto& [set, hits] : best) {
      const uint64_t more = hits + static_cast<uint64_t>(std::popcount(set & path));
      for (const uint32_t after : allowed) {
        if ((after & ~(set | path)) == 0) next[after] = std::max(next[after], more);
      }
    }
    best = std::move(next);
  }
  uint64_t most = 0;
  for (const auto& [set, hits] : best) most = std::max(most, hits);
  return most;
}

TEST(BeladyTest, HasTheMostHitsOfAllSchedules) {
  int limited = 0;
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    const BlockTrace trace = TinyTrace(seed);
    ASSERT_LE(trace.num_blocks, 14u);
    for (const int capacity : {1, 2, 3, 5}) {
      const uint64_t most = MostHits(trace, capacity);
      EXPECT_EQ(ReplayBelady(trace, {}, capacity).hit_blocks, most)
          << "seed " << seed << " capacity " << capacity;
      if (most < MostHits(trace, 14)) ++limited;
      for (const absl::string_view name : storage::EvictionPolicyNames()) {
        EXPECT_LE(Replay(trace, capacity, name).hit_blocks, most) << name << " seed " << seed;
      }
    }
  }
  EXPECT_GT(limited, 100) << "most sizes must be too small, or this says nothing";
}

}  // namespace
}  // namespace cistern::tools
