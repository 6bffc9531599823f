// The order in which each policy lets blocks go, on traces that fit a page.
#include "storage/policy/eviction_policy.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "storage/policy/ghost_list.h"
#include "storage/policy/keyed_policy.h"
#include "storage/policy/lru_policy.h"
#include "storage/policy/marconi_policy.h"
#include "storage/policy/s3fifo_policy.h"
#include "storage/policy/value_policy.h"

namespace cistern::storage {
namespace {

using ::testing::ElementsAre;
using Victims = std::vector<uint64_t>;

// Blocks without parents, cost 1, one byte.
void InsertAll(KeyedPolicy& policy, const std::vector<uint64_t>& keys) {
  for (const uint64_t key : keys) policy.Insert({.key = key, .cost = 1}, std::nullopt);
}

Victims EvictAll(KeyedPolicy& policy) {
  Victims victims;
  while (const std::optional<uint64_t> key = policy.Evict()) victims.push_back(*key);
  return victims;
}

class EveryPolicy : public ::testing::TestWithParam<absl::string_view> {
 protected:
  KeyedPolicy policy_{MakeEvictionPolicy(GetParam()).value()};
};

TEST_P(EveryPolicy, ABlockNeverGoesBeforeTheBlocksAfterIt) {
  // 1 ─ 2 ─ 3, and 1 ─ 4; the root is the oldest and the cheapest.
  policy_.Insert({.key = 1, .cost = 1}, std::nullopt);
  policy_.Insert({.key = 2, .cost = 2}, 1);
  policy_.Insert({.key = 3, .cost = 3}, 2);
  policy_.Insert({.key = 4, .cost = 4}, 1);
  const Victims victims = EvictAll(policy_);
  ASSERT_EQ(victims.size(), 4u);
  EXPECT_EQ(victims.back(), 1u);
  EXPECT_LT(std::ranges::find(victims, 3u), std::ranges::find(victims, 2u));
}

TEST_P(EveryPolicy, APinnedBlockStaysUntilEveryPinIsGone) {
  InsertAll(policy_, {1, 2});
  policy_.Pin(1);
  policy_.Pin(1);
  EXPECT_EQ(policy_.Evict(), 2u);
  EXPECT_EQ(policy_.Evict(), std::nullopt);
  policy_.Unpin(1);
  EXPECT_EQ(policy_.Evict(), std::nullopt);
  policy_.Unpin(1);
  EXPECT_EQ(policy_.Evict(), 1u);
  EXPECT_EQ(policy_.size(), 0u);
}

TEST_P(EveryPolicy, AParentMayGoWhenItsLastChildWasErased) {
  policy_.Insert({.key = 1, .cost = 1}, std::nullopt);
  policy_.Insert({.key = 2, .cost = 1}, 1);
  policy_.Pin(2);
  EXPECT_EQ(policy_.Evict(), std::nullopt);
  policy_.Erase(2);
  EXPECT_FALSE(policy_.Contains(2));
  EXPECT_EQ(policy_.Evict(), 1u);
}

// Random prompts over small trees with pins and erasures beside them: a victim is always a leaf
// without pins, one is found whenever there is one, and a second run gives the same victims.
Victims RunRandomly(absl::string_view name, uint32_t seed) {
  KeyedPolicy policy(MakeEvictionPolicy(name).value());
  struct Node {
    std::optional<uint64_t> parent;
    uint32_t children = 0;
    uint32_t pins = 0;
  };
  std::mt19937 random(seed);
  std::map<uint64_t, Node> model;
  const auto leave = [&](uint64_t key) {
    const auto it = model.find(key);
    if (it->second.parent.has_value()) --model.at(*it->second.parent).children;
    model.erase(it);
  };
  Victims victims;
  for (int step = 0; step < 3000; ++step) {
    const uint64_t key = random() % 64;
    const auto it = model.find(key);
    const bool free = it != model.end() && it->second.children == 0 && it->second.pins == 0;
    const uint32_t what = random() % 10;
    if (it == model.end()) {
      std::optional<uint64_t> parent;
      if (model.contains(key / 2) && key > 1) parent = key / 2;
      policy.Insert({.key = key, .cost = static_cast<double>(random() % 1000), .bytes = 1 + key},
                    parent);
      if (parent.has_value()) ++model.at(*parent).children;
      model[key].parent = parent;
    } else if (what == 0 && free) {
      policy.Erase(key);
      leave(key);
    } else if (what == 1) {
      policy.Pin(key);
      ++it->second.pins;
    } else if (what < 5 && it->second.pins > 0) {
      policy.Unpin(key);
      --it->second.pins;
    } else {
      policy.Hit(key);
    }
    if (model.size() > 24) {
      const std::optional<uint64_t> victim = policy.Evict();
      const bool any = std::ranges::any_of(model, [](const auto& named) {
        return named.second.children == 0 && named.second.pins == 0;
      });
      EXPECT_EQ(victim.has_value(), any) << "seed " << seed << " step " << step;
      if (victim.has_value()) {
        EXPECT_EQ(model.at(*victim).children + model.at(*victim).pins, 0u) << "seed " << seed;
        leave(*victim);
        victims.push_back(*victim);
      }
    }
    EXPECT_EQ(policy.size(), model.size());
  }
  return victims;
}

TEST_P(EveryPolicy, KeepsTheRulesUnderRandomCallsAndRepeatsItself) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    const Victims first = RunRandomly(GetParam(), seed);
    EXPECT_GT(first.size(), 100u);
    EXPECT_EQ(RunRandomly(GetParam(), seed), first);
  }
}

INSTANTIATE_TEST_SUITE_P(ByName, EveryPolicy, ::testing::ValuesIn(EvictionPolicyNames()),
                         [](const auto& info) { return std::string(info.param); });

TEST(MakeEvictionPolicy, NamesThePoliciesThatThereAre) {
  const absl::Status status = MakeEvictionPolicy("mru").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("value, lru, s3fifo, marconi"));
}

TEST(LruPolicy, TheLongestUnusedGoes) {
  KeyedPolicy policy(std::make_unique<LruPolicy>());
  InsertAll(policy, {1, 2, 3});
  policy.Hit(1);
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 3, 1));
}

TEST(LruPolicy, AParentKeepsItsPlaceWhileItHasChildren) {
  KeyedPolicy policy(std::make_unique<LruPolicy>());
  InsertAll(policy, {1, 2});
  policy.Insert({.key = 3, .cost = 1}, 1);
  EXPECT_EQ(policy.Evict(), 2u);
  EXPECT_EQ(policy.Evict(), 3u);
  EXPECT_EQ(policy.Evict(), 1u);
}

TEST(GhostList, ForgetsTheOldestAndKnowsTheLatestUses) {
  GhostList ghosts;
  ghosts.Add(1, 5);
  ghosts.Add(2, 6);
  ghosts.Add(1, 7);
  ghosts.Trim(2);  // the first addition of 1 is forgotten, not the second
  EXPECT_EQ(ghosts.Take(1), 7u);
  EXPECT_EQ(ghosts.Take(1), std::nullopt);
  ghosts.Trim(1);
  EXPECT_EQ(ghosts.Take(2), std::nullopt);
  EXPECT_EQ(ghosts.size(), 0u);
}

TEST(S3FifoPolicy, OneUseDoesNotSaveABlockInTheSmallQueue) {
  KeyedPolicy policy(std::make_unique<S3FifoPolicy>());
  InsertAll(policy, {1, 2, 3});
  policy.Hit(1);
  policy.Hit(2);
  policy.Hit(2);  // twice: it moves to the main queue at its turn
  EXPECT_THAT(EvictAll(policy), ElementsAre(1, 3, 2));
}

TEST(S3FifoPolicy, AGhostComesBackToTheMainQueue) {
  KeyedPolicy policy(std::make_unique<S3FifoPolicy>());
  InsertAll(policy, {1, 2, 3, 4});
  EXPECT_EQ(policy.Evict(), 1u);
  InsertAll(policy, {1, 5});  // 1 is remembered
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 3, 4, 5, 1));
}

TEST(S3FifoPolicy, GhostsAreFewerThanBlocks) {
  KeyedPolicy policy(std::make_unique<S3FifoPolicy>());
  InsertAll(policy, {1, 2});
  ASSERT_EQ(policy.Evict(), 1u);
  InsertAll(policy, {3});
  ASSERT_EQ(policy.Evict(), 2u);  // of two blocks one ghost is kept: 1 is forgotten
  InsertAll(policy, {1, 4});
  EXPECT_THAT(EvictAll(policy), ElementsAre(3, 1, 4));
}

TEST(S3FifoPolicy, WhatWasErasedIsNoGhost) {
  KeyedPolicy policy(std::make_unique<S3FifoPolicy>());
  InsertAll(policy, {1, 2});
  policy.Erase(1);
  InsertAll(policy, {1, 3});
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 1, 3));
}

TEST(S3FifoPolicy, ABlockSetAsideStandsFirstWhenItMayGo) {
  KeyedPolicy policy(std::make_unique<S3FifoPolicy>());
  InsertAll(policy, {1});
  policy.Insert({.key = 2, .cost = 1}, 1);
  InsertAll(policy, {3, 4});
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 1, 3, 4));
}

TEST(S3FifoPolicy, InTheMainQueueAUseIsAnotherTurn) {
  KeyedPolicy policy(std::make_unique<S3FifoPolicy>());
  InsertAll(policy, {1, 2, 3, 4, 5, 6});
  ASSERT_EQ(policy.Evict(), 1u);
  ASSERT_EQ(policy.Evict(), 2u);
  InsertAll(policy, {1, 2});  // both remembered: the main queue, 1 before 2
  policy.Hit(1);
  EXPECT_THAT(EvictAll(policy), ElementsAre(3, 4, 5, 6, 2, 1));
}

TEST(S3FifoPolicy, TheMainQueueGivesWhileTheSmallOneIsBelowItsShare) {
  KeyedPolicy policy(std::make_unique<S3FifoPolicy>());
  std::vector<uint64_t> keys(20);
  std::iota(keys.begin(), keys.end(), 1);
  InsertAll(policy, keys);
  for (const uint64_t key : keys) {
    policy.Hit(key);
    policy.Hit(key);
  }
  EXPECT_EQ(policy.Evict(), 1u) << "all were used twice, so all moved, in their order";
  InsertAll(policy, {100});
  EXPECT_EQ(policy.Evict(), 2u) << "1 of 20 is less than a tenth";
  InsertAll(policy, {101});
  EXPECT_EQ(policy.Evict(), 100u) << "2 of 20 are not";
}

TEST(MarconiPolicy, AlphaZeroIsRecency) {
  KeyedPolicy policy(std::make_unique<MarconiPolicy>(0));
  policy.Insert({.key = 1, .cost = 9}, std::nullopt);
  policy.Insert({.key = 2, .cost = 1}, std::nullopt);
  policy.Insert({.key = 3, .cost = 5}, std::nullopt);
  policy.Hit(1);
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 3, 1));
}

TEST(MarconiPolicy, EfficiencyIsFlopsPerByteAndAlphaWeighsIt) {
  // Recency of 1, 2, 3 is 1/3, 1/2, 1: scaled 0, 0.25, 1. Efficiency 4, 2, 1: scaled 1, 1/3, 0.
  const auto first_victim = [](double alpha) {
    KeyedPolicy policy(std::make_unique<MarconiPolicy>(alpha));
    policy.Insert({.key = 1, .cost = 8, .bytes = 2}, std::nullopt);
    policy.Insert({.key = 2, .cost = 2, .bytes = 1}, std::nullopt);
    policy.Insert({.key = 3, .cost = 4, .bytes = 4}, std::nullopt);
    return policy.Evict();
  };
  EXPECT_EQ(first_victim(0.3), 1u) << "0.3, 0.35, 1";
  EXPECT_EQ(first_victim(1), 2u) << "1, 0.58, 1";
  EXPECT_EQ(first_victim(2), 2u) << "2, 0.92, 1";
  EXPECT_EQ(first_victim(4), 3u) << "4, 1.58, 1";
}

TEST(ValuePolicy, TheCheapestPerByteGoesFirst) {
  KeyedPolicy policy(std::make_unique<ValuePolicy>());
  policy.Insert({.key = 1, .cost = 900, .bytes = 3}, std::nullopt);
  policy.Insert({.key = 2, .cost = 100, .bytes = 1}, std::nullopt);
  policy.Insert({.key = 3, .cost = 400, .bytes = 1}, std::nullopt);
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 1, 3));
}

TEST(ValuePolicy, WhatWasNeverUsedGoesBeforeWhatWas) {
  KeyedPolicy policy(std::make_unique<ValuePolicy>());
  policy.Insert({.key = 1, .cost = 1}, std::nullopt);
  policy.Insert({.key = 2, .cost = 10}, std::nullopt);  // three times the root, on probation
  policy.Hit(1);
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 1));
}

TEST(ValuePolicy, WhatWasFollowedIsOffProbation) {
  KeyedPolicy policy(std::make_unique<ValuePolicy>());
  policy.Insert({.key = 1, .cost = 10}, std::nullopt);
  policy.Insert({.key = 2, .cost = 10}, 1);
  policy.Erase(2);
  policy.Insert({.key = 3, .cost = 20}, std::nullopt);
  EXPECT_THAT(EvictAll(policy), ElementsAre(3, 1));
}

TEST(ValuePolicy, AgeOvertakesUses) {
  // A block used 16 times is worth 15 that never were: the 15th after it still goes first.
  KeyedPolicy policy(std::make_unique<ValuePolicy>());
  InsertAll(policy, {1});
  for (int i = 0; i < 16; ++i) policy.Hit(1);
  uint64_t newcomers = 0;
  for (uint64_t key = 2; policy.Contains(1) && key < 1000; ++key, ++newcomers) {
    InsertAll(policy, {key});
    policy.Evict();
  }
  EXPECT_EQ(newcomers, 15u);
}

TEST(ValuePolicy, AGhostBringsItsUsesBack) {
  KeyedPolicy policy(std::make_unique<ValuePolicy>());
  InsertAll(policy, {1});
  policy.Hit(1);
  ASSERT_EQ(policy.Evict(), 1u);
  InsertAll(policy, {2, 3});
  policy.Insert({.key = 4, .cost = 2}, std::nullopt);
  policy.Hit(4);
  EXPECT_EQ(policy.Evict(), 2u) << "the ghosts of four lives for each block: 1 is remembered";
  InsertAll(policy, {1});  // one use in its last life, and its return: two uses, worth more than 4
  EXPECT_THAT(EvictAll(policy), ElementsAre(3, 4, 1));
}

TEST(ValuePolicy, WhatWasErasedIsNoGhost) {
  KeyedPolicy policy(std::make_unique<ValuePolicy>());
  InsertAll(policy, {1});
  policy.Hit(1);
  policy.Erase(1);
  InsertAll(policy, {1, 2});
  EXPECT_THAT(EvictAll(policy), ElementsAre(1, 2));
}

TEST(ValuePolicy, CostsWithoutBoundStayInRange) {
  KeyedPolicy policy(std::make_unique<ValuePolicy>());
  policy.Insert({.key = 1, .cost = 1e300}, std::nullopt);
  policy.Insert({.key = 2, .cost = 0}, std::nullopt);
  policy.Insert({.key = 3, .cost = 1}, std::nullopt);
  EXPECT_THAT(EvictAll(policy), ElementsAre(2, 3, 1));
}

}  // namespace
}  // namespace cistern::storage
