// A node on another host, and a wire between that is cut, loses a third of its packets, or is far:
// calls come back in time, what they bring is right, and when the wire is sound again so are they.
#include "tests/fault/stuck/bad_wire.h"

#include <iostream>
#include <memory>
#include <optional>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/fault/stuck/crowd.h"
#include "tests/fault/stuck/stuck_node.h"

namespace cistern::stuck {
namespace {

constexpr int kPort = 7811;
constexpr absl::Duration kLate = absl::Seconds(1);  // see never_stuck_test.cc

class BadWireTest : public testing::Test {
 protected:
  void SetUp() override {
    auto wire = BadWire::Make();
    if (!wire.ok()) GTEST_SKIP() << "no hosts of our own here: " << wire.status().message();
    wire_ = *std::move(wire);
    wire_->StartThere(
        [this] { node_.emplace(std::vector<std::string>(), kPort, BadWire::kThere); });
  }
  ClientOptions Options(const Deadlines& deadlines) {
    return node_->options(Carrier::kTcp, deadlines);
  }
  void ExpectRight(const Tally& tally) {
    std::cout << tally.ToString() << "; packets: " << wire_->carried() << " carried, "
              << wire_->lost() << " lost\n";
    EXPECT_EQ(tally.wrong_rows, 0u);
    EXPECT_LT(tally.latest, kLate);
    EXPECT_GT(tally.reused, 0u);
    node_->ExpectNothingHeld();
  }

  std::unique_ptr<BadWire> wire_;
  std::optional<StuckNode> node_;
};

TEST_F(BadWireTest, CutAndJoinedAgain) {
  Crowd crowd(Options({}), {}, 2, 1);
  for (int i = 0; i < 3; ++i) {
    crowd.AwaitGoodTurns("over a sound wire");
    wire_->Cut(true);
    crowd.AwaitTrouble("over a wire that is cut");
    absl::SleepFor(absl::Milliseconds(400 * i));
    wire_->Cut(false);
  }
  crowd.AwaitGoodTurns("after the last cut");
  ExpectRight(crowd.Stop());
}

TEST_F(BadWireTest, AThirdOfAllPacketsIsLost) {
  Crowd crowd(Options({}), {}, 2, 2);
  crowd.AwaitGoodTurns("over a sound wire");
  wire_->LosePercent(30);
  crowd.AwaitTrouble("over a wire that loses packets");
  absl::SleepFor(absl::Seconds(2));
  wire_->LosePercent(0);
  crowd.AwaitGoodTurns("over a wire that loses none any more");
  ExpectRight(crowd.Stop());
}

TEST_F(BadWireTest, TwoHundredMillisecondsAway) {
  const Deadlines patient{absl::Seconds(5), absl::Seconds(5), absl::Seconds(5)};
  wire_->Delay(absl::Milliseconds(100));  // each way
  Crowd crowd(Options(patient), patient, 2, 3);
  crowd.AwaitGoodTurns("from far away");
  const Tally tally = crowd.Stop();
  EXPECT_TRUE(tally.troubles.empty());
  ExpectRight(tally);
}

// Nearer than the deadlines are long, further than that: late answers give back what they bring.
TEST_F(BadWireTest, FurtherThanTheDeadline) {
  Crowd crowd(Options({}), {}, 2, 4);
  crowd.AwaitGoodTurns("from near by");
  wire_->Delay(absl::Milliseconds(200));
  crowd.AwaitTrouble("from too far away");
  wire_->Delay(absl::ZeroDuration());
  crowd.AwaitGoodTurns("from near by again");
  ExpectRight(crowd.Stop());
}

}  // namespace
}  // namespace cistern::stuck
