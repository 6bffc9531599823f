// Leases and reservations that come too late, or that the node does not take back at once: none
// stays.
#include <atomic>
#include <memory>
#include <optional>

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::ClientFixture;
using testing::Join;
using testing::RandomTokens;
using testing::Request;
using testing::SmallModel;
using testing::Text;
using transport::AbortRequest;
using transport::FindRequest;
using transport::LeaseRequest;
using transport::ReleaseRequest;
using transport::ReserveRequest;
using transport::WriteRequest;

class GiveBackTest : public ClientFixture {
 protected:
  void StartHasty() {
    ClientOptions options;
    options.call_deadline = absl::Milliseconds(30);
    Start({.model = SmallModel()}, options);
  }
  // What was late is here after the first, given back with the second, and gone after the third.
  void Settle() {
    node_->OpenGate();
    for (int i = 0; i < 3; ++i) Drain();
  }

  const Text text_ = Join({RandomTokens(300, 1)});
};

TEST_F(GiveBackTest, LeasesOfAFindThatCameTooLate) {
  StartHasty();
  Seed(text_);
  node_->Hold<FindRequest>();
  EXPECT_EQ(Reused(MustPlan(text_, Exact())), 0u);  // its call has ended
  Settle();
  EXPECT_GT(node_->num_released(), 0u);
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(GiveBackTest, LeasesThatCameTooLate) {
  StartHasty();
  Seed(text_);
  node_->MoveAllToDisk();
  node_->Hold<LeaseRequest>();
  EXPECT_EQ(MissingTokens(FetchAll(text_, MustPlan(text_, Exact()))), 299u);
  Settle();
  EXPECT_GT(node_->num_released(), 0u);
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(GiveBackTest, ReservationsThatCameTooLate) {
  StartHasty();
  worker_->Begin(text_.tokens);
  worker_->Compute({0, text_.size()});
  node_->Hold<ReserveRequest>();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Publish(text_, {}).status()));
  Settle();
  EXPECT_GT(node_->Calls<AbortRequest>(), 0u);
  EXPECT_EQ(node_->num_reservations(), 0u);
}

// A plan's call takes along what is late: no other is made for it.
TEST_F(GiveBackTest, APlanGivesBackWhatIsLate) {
  StartHasty();
  Seed(text_);
  node_->Hold<FindRequest>();
  EXPECT_EQ(Reused(MustPlan(text_, Exact())), 0u);
  Settle();
  EXPECT_GT(node_->num_released(), 0u);
  EXPECT_EQ(node_->num_leases(), 0u);
  EXPECT_EQ(node_->Calls<ReleaseRequest>(), 0u);
}

// The first `T` is refused, as by a node that has too many calls.
template <typename T>
std::shared_ptr<std::atomic<bool>> RefuseOnce(testing::FakeNode* node) {
  auto refused = std::make_shared<std::atomic<bool>>(false);
  node->intercept = [refused](const Request& request) -> std::optional<absl::Status> {
    if (!std::holds_alternative<T>(request) || refused->exchange(true)) return std::nullopt;
    return absl::ResourceExhaustedError("too many calls");
  };
  return refused;
}

TEST_F(GiveBackTest, AReleaseThatIsRefusedIsSentAgain) {
  Start();
  Seed(text_);
  const auto refused = RefuseOnce<ReleaseRequest>(node_.get());
  EXPECT_EQ(Recovered(FetchAll(text_, MustPlan(text_, Exact()))), 299u);
  const absl::Time until = absl::Now() + absl::Seconds(20);
  while (!*refused && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_TRUE(*refused);  // a fetch thread has looked
  Settle();
  EXPECT_EQ(node_->num_leases(), 0u);
}

// What it was to give back goes by itself then.
TEST_F(GiveBackTest, APlanThatIsRefusedGivesBackAllTheSame) {
  StartHasty();
  Seed(text_);
  node_->Hold<FindRequest>();
  EXPECT_EQ(Reused(MustPlan(text_, Exact())), 0u);
  node_->OpenGate();
  const absl::Time until = absl::Now() + absl::Seconds(20);
  while (node_->num_leases() == 0 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_GT(node_->num_leases(), 0u);
  const auto refused = RefuseOnce<FindRequest>(node_.get());
  EXPECT_FALSE(client_->MakePlan(model_, text_.tokens, Exact(), text_.parts).ok());
  EXPECT_TRUE(*refused);
  Settle();
  EXPECT_EQ(node_->num_leases(), 0u);
}

TEST_F(GiveBackTest, AnAbortThatIsRefusedIsSentAgain) {
  Start();
  worker_->Begin(text_.tokens);
  worker_->Compute({0, text_.size()});
  node_->write_later = true;
  auto refused = std::make_shared<std::atomic<bool>>(false);
  node_->intercept = [refused](const Request& request) -> std::optional<absl::Status> {
    if (std::holds_alternative<WriteRequest>(request)) return absl::InternalError("broken");
    if (!std::holds_alternative<AbortRequest>(request) || refused->exchange(true)) {
      return std::nullopt;
    }
    return absl::ResourceExhaustedError("too many calls");
  };
  EXPECT_TRUE(Publish(text_, {}).ok());
  Settle();
  EXPECT_TRUE(*refused);
  EXPECT_EQ(node_->num_reservations(), 0u);
}

}  // namespace
}  // namespace cistern
