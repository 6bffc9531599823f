// The predictor: what it says of steady, fading and failed demand, and that acting on it is
// lossless.
#include "storage/pool/slab_predictor.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

class SlabPredictorTest : public ::testing::Test {
 protected:
  // Room for 64 pages, four to a slab, or 16 states; the rest of the arena stays in use.
  SlabPredictorTest()
      : arena_(TestArena(16 << 20)),
        pools_(arena_.get()),
        page_(pools_.PoolFor(64 << 10).value()),
        state_(pools_.PoolFor(256 << 10).value()) {
    std::vector<Handle> rest;
    EXPECT_EQ(pools_.Allocate(page_, 192, &rest), 192u);
  }

  absl::Time At(double seconds) const { return kStart + absl::Seconds(seconds); }
  void Take(PoolId pool, uint32_t count, double seconds) {
    const size_t before = handles_.size();
    ASSERT_EQ(pools_.Allocate(pool, count, &handles_), count);
    for (size_t i = before; i < handles_.size(); ++i) {
      pools_.SetOwner(handles_[i], i + 1);
      pools_.SetMovable(handles_[i], true);
    }
    predictor_.Record(pool, count, At(seconds));
  }
  uint64_t Gather(PoolId pool) {
    return pools_.GatherRoom(pool, [&](Handle from, Handle to) {
      *std::find(handles_.begin(), handles_.end(), from) = to;
    });
  }

  std::unique_ptr<Arena> arena_;
  AsymmetricPools pools_;
  PoolId page_, state_;
  std::vector<Handle> handles_;
  SlabPredictor predictor_{{.window = absl::Seconds(10),
                            .horizon = absl::Seconds(4),
                            .interval = absl::Milliseconds(100)}};
};

TEST_F(SlabPredictorTest, AverageFollowsASteadyRateAndFades) {
  EXPECT_EQ(predictor_.Rate(page_, kStart), 0);
  for (int i = 0; i < 1000; ++i) predictor_.Record(page_, 5, At(0.1 * i));
  EXPECT_NEAR(predictor_.Rate(page_, At(100)), 50, 1);
  EXPECT_NEAR(predictor_.Rate(page_, At(110)), 50 / 2.718, 1);
  EXPECT_EQ(predictor_.Rate(state_, At(100)), 0);
}

TEST_F(SlabPredictorTest, WhatComesBackCountsAgainst) {
  for (int i = 0; i < 500; ++i) {
    predictor_.Record(page_, 7, At(0.1 * i));
    predictor_.Record(page_, -7, At(0.1 * i));
  }
  EXPECT_NEAR(predictor_.Rate(page_, At(50)), 0, 1e-9);
  predictor_.Record(page_, -10, At(50));
  EXPECT_LT(predictor_.Rate(page_, At(50)), 0);
  EXPECT_FALSE(predictor_.Next(pools_, At(50)).has_value());
}

TEST_F(SlabPredictorTest, NamesThePoolThatRunsOutAndSaysByHowMuch) {
  EXPECT_FALSE(predictor_.Next(pools_, At(0)).has_value()) << "nothing was ever taken";
  for (int i = 0; i < 60; ++i) {
    Take(page_, 1, 1 + 0.1 * i);
    const auto need = predictor_.Next(pools_, At(1 + 0.1 * i));
    if (i < 30) {
      EXPECT_FALSE(need.has_value()) << "at block " << i << " of 64";
    }
  }
  // 60 of 64 are taken; about 4.5 a second are, and another 4 seconds want 18.
  const double rate = predictor_.Rate(page_, At(7));
  const auto need = predictor_.Next(pools_, At(7));
  ASSERT_TRUE(need.has_value());
  EXPECT_EQ(need->pool, page_);
  EXPECT_EQ(need->bytes, (static_cast<uint64_t>(std::ceil(rate * 4)) - 4) * (64 << 10));
  EXPECT_NEAR(absl::ToDoubleSeconds(need->runs_out), 4 / rate, 1e-6);
  EXPECT_FALSE(predictor_.Next(pools_, At(7.05)).has_value()) << "it has just looked";
  EXPECT_TRUE(predictor_.Next(pools_, At(7.1)).has_value());
}

TEST_F(SlabPredictorTest, TheMostUrgentFirstAndARefusalIsRemembered) {
  Take(page_, 60, 0);  // one state's worth is left
  predictor_.Record(state_, 20, At(0));
  predictor_.Record(page_, 20, At(0));
  EXPECT_EQ(predictor_.Next(pools_, At(0))->pool, page_) << "4 at 8/s, before 1 at 2/s";
  predictor_.NoRoom(page_, At(0));
  EXPECT_EQ(predictor_.Next(pools_, At(0.5))->pool, state_);
  predictor_.NoRoom(state_, At(0.5));
  EXPECT_FALSE(predictor_.Next(pools_, At(0.9)).has_value());
  EXPECT_EQ(predictor_.Next(pools_, At(1))->pool, page_) << "a quarter of the horizon later";
}

TEST_F(SlabPredictorTest, NeverAsksForMoreThanAnArena) {
  Take(state_, 1, 0);
  predictor_.Record(state_, 1'000'000'000, At(0));
  const auto need = predictor_.Next(pools_, At(0));
  ASSERT_TRUE(need.has_value());
  EXPECT_LE(need->bytes, pools_.arena_bytes());
  for (int i = 0; i < 5; ++i) predictor_.Record(7, 1, At(0));
  EXPECT_EQ(predictor_.Next(pools_, At(1))->pool, state_) << "a pool that is not there";
}

// Half of the pages go; states come at a steady rate, and the room for each is there before it is
// asked for. Nothing is lost on the way.
TEST_F(SlabPredictorTest, RoomIsThereBeforeItIsAskedFor) {
  Take(page_, 64, 0);
  for (size_t i = 0; i < 64; i += 2) pools_.Free(handles_[i]);
  predictor_.Record(page_, -64, At(0));  // no more pages are wanted
  std::vector<Handle> pages;
  for (size_t i = 1; i < 64; i += 2) pages.push_back(handles_[i]);
  handles_ = pages;
  ASSERT_FALSE(pools_.CanAllocate(state_, 1));
  int waited = 0;
  for (int i = 0; i < 8; ++i) {
    const double now = 1 + i;
    if (!pools_.CanAllocate(state_, 1)) {
      ++waited;
      ASSERT_GT(Gather(state_), 0u);
    }
    Take(state_, 1, now);
    for (int look = 1; look < 9; ++look) {
      const auto need = predictor_.Next(pools_, At(now + 0.1 * look));
      if (!need.has_value()) continue;
      EXPECT_EQ(need->pool, state_);
      if (Gather(need->pool) == 0) predictor_.NoRoom(need->pool, At(now + 0.1 * look));
      ASSERT_TRUE(pools_.CheckInvariants().ok()) << pools_.CheckInvariants();
    }
  }
  EXPECT_EQ(waited, 1) << "the first comes unforeseen";
  EXPECT_EQ(pools_.used_bytes(), pools_.arena_bytes());
  EXPECT_EQ(pools_.counts(page_).blocks_used, 192u + 32u);
}

TEST_F(SlabPredictorTest, TheSameCallsAndTimesGiveTheSameAnswers) {
  auto run = [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    SlabPredictor predictor({.window = absl::Seconds(1), .horizon = absl::Seconds(1)});
    std::vector<std::pair<PoolId, uint64_t>> answers;
    double now = 0;
    for (int i = 0; i < 2000; ++i) {
      now += static_cast<double>(random() % 100) / 1000;
      predictor.Record(random() % 2 == 0 ? page_ : state_, static_cast<int64_t>(random() % 64) - 24,
                       At(now));
      if (const auto need = predictor.Next(pools_, At(now)))
        answers.emplace_back(need->pool, need->bytes);
    }
    return answers;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_FALSE(run(1).empty());
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace cistern::storage
