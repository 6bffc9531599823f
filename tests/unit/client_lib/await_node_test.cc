#include "client_lib/src/await_node.h"

#include <functional>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cistern::client {
namespace {

using ::testing::ElementsAre;
using LinkOr = absl::StatusOr<std::unique_ptr<transport::Link>>;

class AwaitNodeTest : public ::testing::Test {
 protected:
  // Each attempt takes `attempt_ms`, and is answered as `answer` says.
  LinkOr Await(absl::Duration patience, const std::function<LinkOr()>& answer) {
    return AwaitNode(
        patience, clock_,
        [&](absl::Duration timeout) {
          timeouts_.push_back(timeout);
          clock_.Advance(attempt_);
          return answer();
        },
        [&](absl::Duration pause) {
          pauses_.push_back(pause);
          clock_.Advance(pause);
        });
  }

  base::ManualClock clock_;
  absl::Duration attempt_ = absl::ZeroDuration();
  std::vector<absl::Duration> timeouts_, pauses_;
};

TEST_F(AwaitNodeTest, ANodeThatStartsMeanwhileIsFound) {
  int attempts = 0;
  const LinkOr link = Await(absl::Seconds(5), [&]() -> LinkOr {
    if (++attempts < 4) return absl::UnavailableError("no node");
    return LinkOr(nullptr);
  });
  EXPECT_TRUE(link.ok()) << link.status();
  EXPECT_EQ(attempts, 4);
  EXPECT_THAT(pauses_,
              ElementsAre(absl::Milliseconds(10), absl::Milliseconds(20), absl::Milliseconds(40)));
  EXPECT_EQ(timeouts_.back(), absl::Seconds(5) - absl::Milliseconds(70)) << "what is left of it";
}

TEST_F(AwaitNodeTest, NoNodeIsUnavailableWhenTimeIsUp) {
  const LinkOr link = Await(absl::Seconds(1), [] { return absl::UnavailableError("no node"); });
  EXPECT_TRUE(absl::IsUnavailable(link.status())) << link.status();
  EXPECT_EQ(link.status().message(), "no node");
  EXPECT_EQ(clock_.Now(), absl::UnixEpoch() + absl::Seconds(1)) << "neither earlier nor later";
}

TEST_F(AwaitNodeTest, AnAttemptThatTakesAllTheTimeIsTheLast) {
  attempt_ = absl::Seconds(1);
  const LinkOr link = Await(absl::Seconds(1), [] { return absl::UnavailableError("silent"); });
  EXPECT_TRUE(absl::IsUnavailable(link.status()));
  EXPECT_EQ(timeouts_.size(), 1u);
  EXPECT_TRUE(pauses_.empty());
}

TEST_F(AwaitNodeTest, WhatWaitingDoesNotMendIsSaidAtOnce) {
  for (const absl::Status& wrong :
       {absl::InvalidArgumentError("no address"), absl::FailedPreconditionError("versions")}) {
    timeouts_.clear();
    EXPECT_EQ(Await(absl::Seconds(5), [&] { return wrong; }).status(), wrong);
    EXPECT_EQ(timeouts_.size(), 1u);
  }
  EXPECT_TRUE(pauses_.empty());
}

}  // namespace
}  // namespace cistern::client
