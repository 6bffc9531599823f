// FaultyLink: each fault does what it says, to the call that it is meant for.
#include "transport/fake/faulty_link.h"

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/unit/transport/test_service.h"
#include "transport/local/in_process.h"

namespace cistern::transport {
namespace {

using absl::StatusCode;
using Kind = Fault::Kind;

class FaultyLinkTest : public testing::Test {
 protected:
  FaultyLinkTest()
      : server_(*StartInProcess({}, &service_)), link_(*FaultyLink::Wrap(*server_->Connect({}))) {}

  absl::StatusCode EchoCode(absl::Duration deadline = absl::Seconds(10)) {
    return Echo(*link_, "x", deadline).status().code();
  }
  uint64_t served() const { return server_->stats().calls; }

  TestService service_;
  std::unique_ptr<InProcessServer> server_;
  std::unique_ptr<FaultyLink> link_;
};

constexpr absl::Duration kSoon = absl::Milliseconds(20);

TEST_F(FaultyLinkTest, WithoutFaultsItIsTheLink) {
  EXPECT_EQ(*Echo(*link_, "hello"), "hello");
  EXPECT_EQ(*ReadPayload(*link_, 1, 1000), Payload(1, 1000));
  EXPECT_EQ(WritePayload(*link_, {Payload(2, 1000)}, 2), absl::OkStatus());
  EXPECT_EQ(link_->node().node_name, "cistern");
  EXPECT_TRUE(link_->alive());
  EXPECT_EQ(link_->calls(), 3);
  EXPECT_EQ(link_->faults_used(), 0);
}

TEST_F(FaultyLinkTest, ADroppedRequestIsNeverServed) {
  link_->Inject({.kind = Kind::kDropRequest});
  EXPECT_EQ(EchoCode(kSoon), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(served(), 0);
  EXPECT_EQ(EchoCode(), StatusCode::kOk);
}

TEST_F(FaultyLinkTest, ADroppedReplyIsServed) {
  link_->Inject({.kind = Kind::kDropReply});
  const absl::Time begin = absl::Now();
  EXPECT_EQ(EchoCode(kSoon), StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - begin, kSoon);
  EXPECT_EQ(served(), 1);
}

TEST_F(FaultyLinkTest, ADelayedReplyComesLaterOrTooLate) {
  link_->Inject({.kind = Kind::kDelay, .times = 2, .delay = absl::Milliseconds(30)});
  const absl::Time begin = absl::Now();
  EXPECT_EQ(EchoCode(), StatusCode::kOk);
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(30));
  EXPECT_EQ(EchoCode(absl::Milliseconds(10)), StatusCode::kDeadlineExceeded);
}

TEST_F(FaultyLinkTest, AFailureIsTheGivenStatus) {
  link_->Inject({.kind = Kind::kFail,
                 .after_calls = 1,
                 .times = 2,
                 .status = absl::ResourceExhaustedError("full")});
  EXPECT_EQ(EchoCode(), StatusCode::kOk);
  EXPECT_EQ(EchoCode(), StatusCode::kResourceExhausted);
  EXPECT_EQ(EchoCode(), StatusCode::kResourceExhausted);
  EXPECT_EQ(EchoCode(), StatusCode::kOk);
  EXPECT_EQ(served(), 2);
  EXPECT_EQ(link_->faults_used(), 2);
}

TEST_F(FaultyLinkTest, AFaultMayBeMeantForOneKindOfCall) {
  link_->Inject({.kind = Kind::kFail, .applies = [](const Request& request) {
                   return std::holds_alternative<ReadRequest>(request);
                 }});
  EXPECT_EQ(EchoCode(), StatusCode::kOk);
  EXPECT_EQ(ReadPayload(*link_, 1, 10).status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(ReadPayload(*link_, 1, 10).ok());
}

TEST_F(FaultyLinkTest, AGarbledPayloadDiffersInOneBit) {
  link_->Inject({.kind = Kind::kGarblePayload});
  const std::vector<std::byte> got = *ReadPayload(*link_, 1, 1000);
  const std::vector<std::byte> good = Payload(1, 1000);
  int bits = 0;
  for (size_t i = 0; i < good.size(); ++i)
    bits += __builtin_popcount(static_cast<unsigned>(got[i] ^ good[i]));
  EXPECT_EQ(bits, 1);
  EXPECT_EQ(*ReadPayload(*link_, 1, 1000), good);
}

TEST_F(FaultyLinkTest, DeathEndsAllCalls) {
  service_.Hold();
  Results results;
  auto buffer = *link_->Allocate(100);
  for (int i = 0; i < 3; ++i)
    link_->Call(AdminRequest{}, {.deadline = absl::Minutes(1)}, results.Next());
  link_->Inject({.kind = Kind::kDropRequest});
  link_->Call(AdminRequest{}, {.deadline = absl::Minutes(1)}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(3));
  link_->Inject({.kind = Kind::kDie});
  link_->Call(AdminRequest{}, {.deadline = absl::Minutes(1)}, results.Next());
  ASSERT_TRUE(results.WaitForAll());
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(results.at(i).status().code(), StatusCode::kUnavailable) << i;
  EXPECT_FALSE(link_->alive());
  EXPECT_EQ(EchoCode(), StatusCode::kUnavailable);
  service_.Release();
  EXPECT_EQ(results.completed_twice(), 0);
}

// A buffer is its caller's only when nobody writes into it any more, death or not.
TEST_F(FaultyLinkTest, DeathWaitsForPayloads) {
  service_.Hold();
  Results results;
  auto buffer = *link_->Allocate(100);
  link_->Call(ReadRequest{.layer_begin = 1, .layer_end = 100},
              {.deadline = absl::Minutes(1), .receive = {buffer->bytes()}}, results.Next());
  ASSERT_TRUE(service_.WaitForHeld(1));
  link_->Die();
  EXPECT_EQ(results.completed(), 0);
  service_.Release();
  ASSERT_TRUE(results.WaitForAll());
  EXPECT_EQ(results.at(0).status().code(), StatusCode::kUnavailable);
}

TEST_F(FaultyLinkTest, ClosingCancelsWhatIsHeldBack) {
  Results results;
  for (const Kind kind : {Kind::kDropRequest, Kind::kDropReply, Kind::kDelay}) {
    link_->Inject({.kind = kind, .delay = absl::Minutes(1)});
    link_->Call(AdminRequest{}, {.deadline = absl::Minutes(2)}, results.Next());
  }
  link_.reset();
  EXPECT_EQ(results.completed(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(results.at(i).status().code(), StatusCode::kCancelled) << i;
}

}  // namespace
}  // namespace cistern::transport
