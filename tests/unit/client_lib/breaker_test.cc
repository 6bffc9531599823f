// A node that is too slow is left alone for a while, then tried by one.
#include "client_lib/src/breaker.h"

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern::client {
namespace {

using Pass = Breaker::Pass;

class BreakerTest : public ::testing::Test {
 protected:
  // One call that ends so.
  Pass Call(const absl::Status& status) {
    const Pass pass = breaker_.Enter();
    if (pass != Pass::kNone) breaker_.Report(pass, status);
    return pass;
  }
  void Trip() {
    for (uint32_t i = 0; i < Breaker::kTrips; ++i) ASSERT_EQ(Call(late_), Pass::kNormal);
    ASSERT_EQ(breaker_.Enter(), Pass::kNone);
  }

  const absl::Status late_ = absl::DeadlineExceededError("late");
  base::ManualClock clock_;
  Breaker breaker_{absl::Seconds(1), &clock_};
};

TEST_F(BreakerTest, OnlyDeadlinesInARowOpenIt) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Call(late_), Pass::kNormal);
    EXPECT_EQ(Call(late_), Pass::kNormal);
    EXPECT_EQ(Call(i % 2 == 0 ? absl::OkStatus() : absl::UnavailableError("gone")), Pass::kNormal);
  }
  Trip();
}

TEST_F(BreakerTest, WhatSaysNothingOfTheNodeDoesNotCount) {
  EXPECT_EQ(Call(late_), Pass::kNormal);
  EXPECT_EQ(Call(late_), Pass::kNormal);
  EXPECT_EQ(Call(absl::InvalidArgumentError("fix the call")), Pass::kNormal);
  EXPECT_EQ(Call(late_), Pass::kNormal);
  EXPECT_EQ(Call(late_), Pass::kNone);
}

TEST_F(BreakerTest, OneProbeAtATime) {
  Trip();
  clock_.Advance(absl::Milliseconds(999));
  EXPECT_EQ(breaker_.Enter(), Pass::kNone);
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(breaker_.Enter(), Pass::kProbe);
  EXPECT_EQ(breaker_.Enter(), Pass::kNone);
  breaker_.Report(Pass::kNormal, absl::OkStatus());  // one from before
  EXPECT_EQ(breaker_.Enter(), Pass::kNone);
  breaker_.Report(Pass::kProbe, absl::InvalidArgumentError("was not sent"));
  EXPECT_EQ(breaker_.Enter(), Pass::kProbe);
  breaker_.Report(Pass::kProbe, absl::OkStatus());
  EXPECT_EQ(breaker_.Enter(), Pass::kNormal);
}

TEST_F(BreakerTest, WaitsDoubleToABoundAndBeginAnew) {
  Trip();
  for (const int seconds : {1, 2, 4, 8, 16, 30, 30, 30}) {
    clock_.Advance(absl::Seconds(seconds) - absl::Nanoseconds(1));
    EXPECT_EQ(breaker_.Enter(), Pass::kNone) << seconds;
    clock_.Advance(absl::Nanoseconds(1));
    EXPECT_EQ(Call(late_), Pass::kProbe) << seconds;
  }
  clock_.Advance(Breaker::kMaxWait);
  EXPECT_EQ(Call(absl::OkStatus()), Pass::kProbe);
  Trip();
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(breaker_.Enter(), Pass::kProbe);
}

class SlowNodeTest : public testing::ClientFixture {};

TEST_F(SlowNodeTest, CostsThreeDeadlinesThenNone) {
  ClientOptions options;
  options.call_deadline = absl::Milliseconds(20);
  options.reconnect_backoff = absl::Hours(1);
  Start({.model = testing::SmallModel()}, options);
  const testing::Text text = testing::Join({testing::RandomTokens(300, 1)});
  Seed(text);
  node_->Hold<transport::FindRequest>();
  for (uint32_t i = 0; i < Breaker::kTrips; ++i) EXPECT_EQ(Reused(MustPlan(text, Exact())), 0u);
  const uint64_t asked = node_->Calls<transport::ReserveRequest>();
  node_->OpenGate();  // it would answer
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(absl::IsUnavailable(client_->MakePlan(model_, text.tokens, Exact()).status()));
    EXPECT_TRUE(absl::IsUnavailable(Publish(text, {}).status()));
  }
  EXPECT_EQ(node_->Calls<transport::ReserveRequest>(), asked);
  EXPECT_EQ(client_->stats().refused_slow, 10u);
  PlanPolicy none;
  none.reuse = Reuse::kNone;
  EXPECT_TRUE(client_->MakePlan(model_, text.tokens, none).ok());  // needs no node
}

TEST_F(SlowNodeTest, OneProbeFindsThatItIsFastAgain) {
  ClientOptions options;
  options.call_deadline = absl::Milliseconds(20);
  options.reconnect_backoff = absl::Nanoseconds(1);
  Start({.model = testing::SmallModel()}, options);
  const testing::Text text = testing::Join({testing::RandomTokens(300, 1)});
  Seed(text);
  node_->Hold<transport::FindRequest>();
  for (uint32_t i = 0; i < Breaker::kTrips; ++i) EXPECT_EQ(Reused(MustPlan(text, Exact())), 0u);
  node_->OpenGate();
  EXPECT_EQ(Reused(MustPlan(text, Exact())), 299u);
  EXPECT_EQ(client_->stats().refused_slow, 0u);
}

}  // namespace
}  // namespace cistern::client
