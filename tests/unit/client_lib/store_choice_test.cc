// The faster kind of stores is found, kept, and left when it is no longer the faster one.
#include "client_lib/src/store_choice.h"

#include "gtest/gtest.h"

namespace cistern::client {
namespace {

using kernels::StoreHint;

class StoreChoiceTest : public ::testing::Test {
 protected:
  // Fills `samples` samples at these costs, in ns a KiB, in pieces.
  void Fill(uint32_t samples, int cached, int streamed) {
    constexpr uint64_t kPiece = StoreChoice::kSampleBytes / 16;
    for (uint32_t i = 0; i < samples * 16; ++i) {
      const StoreHint stores = choice_.Now();
      const bool stream = stores == StoreHint::kStream;
      streamed_ += stream ? 1 : 0;
      const auto cost = static_cast<int64_t>(stream ? streamed : cached);
      choice_.Took(stores, kPiece, std::chrono::nanoseconds(cost * int64_t{kPiece >> 10}));
    }
  }
  // Of so many samples, how many were streamed.
  uint32_t StreamedOf(uint32_t samples, int cached, int streamed) {
    streamed_ = 0;
    Fill(samples, cached, streamed);
    return streamed_ / 16;
  }

  StoreChoice choice_;
  uint32_t streamed_ = 0;  // pieces
};

TEST_F(StoreChoiceTest, BeginsThroughTheCachesAndStaysThereWhileThatIsFaster) {
  EXPECT_EQ(choice_.Now(), StoreHint::kCached);
  const uint32_t trials = StreamedOf(2000, 60, 80) / StoreChoice::kTrialSamples;
  EXPECT_GE(trials, 2000 / (StoreChoice::kEvery + StoreChoice::kTrialSamples));
  EXPECT_LE(trials, 2000 / StoreChoice::kEvery + 1);
}

TEST_F(StoreChoiceTest, GoesPastTheCachesWhereThatIsFaster) {
  Fill(StoreChoice::kAtLeast + StoreChoice::kTrialSamples, 150, 70);
  EXPECT_EQ(StreamedOf(100, 150, 70), 100u);
}

TEST_F(StoreChoiceTest, ALittleFasterIsNotWorthIt) {
  Fill(StoreChoice::kAtLeast + StoreChoice::kTrialSamples, 60, 57);
  EXPECT_EQ(choice_.Now(), StoreHint::kCached);
}

TEST_F(StoreChoiceTest, WhatHasBecomeSlowIsLeftSoon) {
  Fill(StoreChoice::kAtLeast + StoreChoice::kTrialSamples, 60, 80);
  Fill(StoreChoice::kAtLeast, 60, 80);
  Fill(12, 150, 70);  // the threads have been moved apart
  EXPECT_EQ(choice_.Now(), StoreHint::kStream);
  EXPECT_EQ(StreamedOf(50, 150, 70), 50u);
}

// Together again: nothing has become slow, but the other kind has become faster.
TEST_F(StoreChoiceTest, WhatHasBecomeFasterIsFoundInTheEnd) {
  Fill(StoreChoice::kAtLeast + StoreChoice::kTrialSamples, 150, 70);
  Fill(StoreChoice::kEvery + StoreChoice::kTrialSamples, 50, 70);
  EXPECT_EQ(StreamedOf(100, 50, 70), 0u);
}

TEST_F(StoreChoiceTest, ASampleInWhichSomebodyElseRanChangesNothing) {
  Fill(StoreChoice::kAtLeast + StoreChoice::kTrialSamples, 60, 80);
  Fill(StoreChoice::kAtLeast, 60, 80);
  Fill(1, 5000, 80);
  EXPECT_EQ(StreamedOf(50, 60, 80), 0u);
}

TEST_F(StoreChoiceTest, WhatWasBegunBeforeTheChoiceIsNotCounted) {
  Fill(StoreChoice::kAtLeast, 60, 80);
  ASSERT_EQ(choice_.Now(), StoreHint::kStream);  // a trial
  choice_.Took(StoreHint::kCached, 16 * StoreChoice::kSampleBytes, std::chrono::nanoseconds(1));
  EXPECT_EQ(choice_.Now(), StoreHint::kStream);
}

}  // namespace
}  // namespace cistern::client
