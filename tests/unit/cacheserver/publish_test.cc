// Reserve, write, commit, abort; and what happens when a step is wrong or somebody dies in between.
#include "gmock/gmock.h"

#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using absl::StatusCode;
using testing::HasSubstr;
using transport::ReserveOutcome;
using transport::ReserveReply;
using transport::ReserveRequest;
using transport::Where;

constexpr size_t kWriteKind = 7;

class PublishTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }
};

TEST_F(PublishTest, RowsComeBackAsTheyWereWrittenLayerByLayer) {
  const auto header = node().Segment(1, 21);
  const auto id = node().Reserve(header);
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
  EXPECT_TRUE(node().Write(id, node().Rows(header, 1, 2), 1, 2)->WaitStatus().ok());
  EXPECT_TRUE(node().Write(id, node().Rows(header, 0, 1), 0, 1)->WaitStatus().ok());
  EXPECT_TRUE(node().Send(transport::CommitRequest{{id}})->WaitStatus().ok());
  const auto lease = node().Lease(header);
  const auto read = node().Send(transport::ReadRequest{{lease}, 0, 2});
  const auto reply = read->WaitFor<transport::ReadReply>();
  EXPECT_EQ(read->Payload(), node().Rows(header, 0, 2));
  EXPECT_EQ(reply.payload_bytes, 21u * 2 * 32);
  const std::vector<std::byte> payload = read->Payload();
  EXPECT_EQ(reply.checksum, transport::PayloadChecksum(std::vector<transport::Slice>{payload}));
}

TEST_F(PublishTest, WhatIsThereOrBeingWrittenIsNotReservedAgain) {
  const auto header = node().Segment(1);
  const auto id = node().Reserve(header);
  EXPECT_EQ(
      node().Send(ReserveRequest{{header}}, kOther)->WaitFor<ReserveReply>().results[0].outcome,
      ReserveOutcome::kAlreadyHave);
  EXPECT_TRUE(node().Send(transport::AbortRequest{{id}})->WaitStatus().ok());
  node().Publish(header);
  EXPECT_EQ(
      node().Send(ReserveRequest{{header}}, kOther)->WaitFor<ReserveReply>().results[0].outcome,
      ReserveOutcome::kAlreadyHave);
}

TEST_F(PublishTest, TooLargeIsSaidAtOnce) {
  const auto reply =
      node().Send(ReserveRequest{{node().Segment(1, 16 * 65)}})->WaitFor<ReserveReply>();
  EXPECT_EQ(reply.results[0].outcome, ReserveOutcome::kTooLarge);
}

TEST_F(PublishTest, AWrongHeaderFailsTheCallAndReservesNothing) {
  auto wrong = node().Segment(2);
  wrong.content = {};
  const absl::Status status = node().Send(ReserveRequest{{node().Segment(1), wrong}})->WaitStatus();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("header 1"));
  auto unknown = node().Segment(3);
  unknown.model = base::HashBytes("nobody");
  EXPECT_EQ(node().Send(ReserveRequest{{node().Segment(1), unknown}})->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(node().Stats().reservations, 0u);
}

TEST_F(PublishTest, ACorruptPayloadIsDataLossAndCanBeWrittenAgain) {
  const auto header = node().Segment(1);
  const auto id = node().Reserve(header);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  const absl::Status status =
      node().Send(transport::WriteRequest{{id}, 0, 2, /*checksum=*/12345}, options)->WaitStatus();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(node().Errors(kWriteKind, StatusCode::kDataLoss), 1u);
  EXPECT_EQ(node().Send(transport::CommitRequest{{id}})->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_TRUE(node().Write(id, node().Rows(header, 0, 2), 0, 2)->WaitStatus().ok());
  EXPECT_TRUE(node().Send(transport::CommitRequest{{id}})->WaitStatus().ok());
}

TEST_F(PublishTest, AChecksumOfZeroIsNotChecked) {
  const auto header = node().Segment(1);
  const auto id = node().Reserve(header);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  EXPECT_TRUE(node().Send(transport::WriteRequest{{id}, 0, 2, 0}, options)->WaitStatus().ok());
}

TEST_F(PublishTest, AWrongSizeLayerOrReservationIsRefused) {
  const auto header = node().Segment(1);
  const auto id = node().Reserve(header);
  EXPECT_EQ(node().Write(id, std::vector<std::byte>(100), 0, 2)->WaitStatus().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(node().Write(id, node().Rows(header, 0, 2), 1, 3)->WaitStatus().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(node().Write(id + 1, node().Rows(header, 0, 2), 0, 2)->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(node().Write(id, node().Rows(header, 0, 2), 0, 2, kOther)->WaitStatus().code(),
            StatusCode::kFailedPrecondition)
      << "it is another session's";
}

TEST_F(PublishTest, ACommitSaysHowFarItCame) {
  const auto a = node().Segment(1), b = node().Segment(2);
  const auto first = node().Reserve(a), second = node().Reserve(b);
  EXPECT_TRUE(node().Write(first, node().Rows(a, 0, 2), 0, 2)->WaitStatus().ok());
  const absl::Status status = node().Send(transport::CommitRequest{{first, second}})->WaitStatus();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 of 2 were committed"));
  EXPECT_EQ(node().WhereIs(a), Where::kMemory);
  EXPECT_EQ(node().WhereIs(b), Where::kMiss);
}

TEST_F(PublishTest, BlocksStayWhileAPayloadIsOnItsWayThoughItsSessionDies) {
  const auto header = node().Segment(1, 64 * 16);  // all of memory
  const auto id = node().Reserve(header);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  options.hold_receive = true;
  const auto write = node().Send(transport::WriteRequest{{id}, 0, 2, 0}, options);
  const auto payload = node().last_payload();
  payload->AwaitAsked();
  node().service_->OnClose(kSession);
  EXPECT_EQ(node().Stats().used_bytes, 64 * kPageBytes) << "freed under the feet of a write";
  payload->Arrive();
  EXPECT_FALSE(write->WaitStatus().ok());
  EXPECT_EQ(node().Stats().used_bytes, 0u);
  EXPECT_EQ(node().Stats().reservations, 0u);
}

TEST_F(PublishTest, APayloadThatNeverArrivesLeavesNothingBehind) {
  const auto header = node().Segment(1);
  const auto id = node().Reserve(header);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  options.receive_status = absl::UnavailableError("the peer is gone");
  EXPECT_EQ(node().Send(transport::WriteRequest{{id}, 0, 2, 0}, options)->WaitStatus().code(),
            StatusCode::kUnavailable);
  node().service_->OnClose(kSession);
  EXPECT_EQ(node().Stats().used_bytes, 0u);
}

TEST_F(PublishTest, AbortOfWhatIsGoneIsNoError) {
  const auto id = node().Reserve(node().Segment(1));
  EXPECT_TRUE(node().Send(transport::AbortRequest{{id, id, 999}})->WaitStatus().ok());
  EXPECT_EQ(node().Stats().reservations, 0u);
}

TEST_F(PublishTest, ASessionsDeathFreesWhatItReservedAndLeased) {
  const auto header = node().Segment(1);
  node().Publish(header);
  node().Lease(header, kOther);
  node().Reserve(node().Segment(2), kOther);
  EXPECT_EQ(node().Stats().leases, 1u);
  EXPECT_EQ(node().Stats().reservations, 1u);
  node().service_->OnClose(kOther);
  EXPECT_EQ(node().Stats().leases, 0u);
  EXPECT_EQ(node().Stats().reservations, 0u);
}

TEST_F(PublishTest, OneWhoFindsNoRoomGetsItWhenItIsGivenBack) {
  const auto held = node().Reserve(node().Segment(1, 64 * 16), kOther);
  const auto waiting = node().Send(ReserveRequest{{node().Segment(2)}});
  EXPECT_FALSE(waiting->answered());
  EXPECT_TRUE(node().Send(transport::AbortRequest{{held}}, kOther)->WaitStatus().ok());
  EXPECT_EQ(waiting->WaitFor<ReserveReply>().results[0].outcome, ReserveOutcome::kReserved);
  EXPECT_EQ(node().counters_.parked, 1u);
}

TEST_F(PublishTest, OneWhoFindsNoRoomIsToldSoBeforeItsDeadline) {
  node().Reserve(node().Segment(1, 64 * 16), kOther);
  FakeCallOptions hurried = node().Options();
  hurried.deadline = node().clock_.Now() + absl::Milliseconds(50);
  const auto waiting = node().Send(ReserveRequest{{node().Segment(2)}}, hurried);
  EXPECT_FALSE(waiting->answered());
  node().clock_.Advance(absl::Milliseconds(46));
  node().service_->Housekeep();
  EXPECT_EQ(waiting->WaitFor<ReserveReply>().results[0].outcome, ReserveOutcome::kNoRoom);
  EXPECT_EQ(node().counters_.no_room, 1u);
}

// Without anything to demote only a release helps, and that is not waited for until the deadline:
// the clock stops long before it.
TEST_F(PublishTest, MemoryFullOfLeasesIsToldSoSoon) {
  for (const bool disk : {false, true}) {
    WorldOptions options;
    options.disk = disk;
    Make(options);
    const auto all = node().Segment(1, 64 * 16);
    node().Publish(all);
    if (disk) node().Send(transport::AdminRequest{.verb = transport::AdminVerb::kFlush})->Wait();
    node().Lease(all, kOther);
    const auto waiting = node().Send(ReserveRequest{{node().Segment(2)}});
    EXPECT_FALSE(waiting->answered()) << "somebody may release at once";
    node().clock_.Advance(absl::Milliseconds(100));  // the deadline is at 5 s
    node().service_->Housekeep();
    EXPECT_EQ(waiting->WaitFor<ReserveReply>().results[0].outcome, ReserveOutcome::kNoRoom);
  }
}

// A demotion in progress is worth waiting for.
TEST_F(PublishTest, OneWhoWaitsForTheDiskWaitsUntilItsDeadline) {
  node().disk_->Block();  // before a commit tells the demoter that memory is full
  node().Publish(node().Segment(1, 64 * 16));
  const auto waiting = node().Send(ReserveRequest{{node().Segment(2)}});
  node().disk_->AwaitBlocked(1);
  node().clock_.Advance(absl::Seconds(4));
  node().service_->Housekeep();
  EXPECT_FALSE(waiting->answered());
  node().disk_->Release();
  EXPECT_EQ(waiting->WaitFor<ReserveReply>().results[0].outcome, ReserveOutcome::kReserved);
}

TEST_F(PublishTest, MemoryThatIsNotOnDiskYetIsWrittenToMakeRoom) {
  const auto old = node().Segment(1, 60 * 16);
  node().Publish(old);
  const auto reply =
      node().Send(ReserveRequest{{node().Segment(2, 32 * 16)}})->WaitFor<ReserveReply>();
  EXPECT_EQ(reply.results[0].outcome, ReserveOutcome::kReserved);
  EXPECT_EQ(node().WhereIs(old), Where::kDisk);
  EXPECT_EQ(node().memory_disk_->records(), 1u);
  EXPECT_EQ(node().memory_disk_->models(), 1u);
}

TEST_F(PublishTest, WhatItselfReservedIsNotWaitedFor) {
  const auto reply =
      node()
          .Send(ReserveRequest{{node().Segment(1, 60 * 16), node().Segment(2, 60 * 16)}})
          ->WaitFor<ReserveReply>();
  EXPECT_EQ(reply.results[0].outcome, ReserveOutcome::kReserved);
  EXPECT_EQ(reply.results[1].outcome, ReserveOutcome::kNoRoom);
}

TEST_F(PublishTest, ASessionsReservationLimitIsToldAsNoRoom) {
  WorldOptions options;
  options.config.max_reservations_per_session = 1;
  Make(options);
  const auto reply =
      node().Send(ReserveRequest{{node().Segment(1), node().Segment(2)}})->WaitFor<ReserveReply>();
  EXPECT_EQ(reply.results[0].outcome, ReserveOutcome::kReserved);
  EXPECT_EQ(reply.results[1].outcome, ReserveOutcome::kNoRoom);
  EXPECT_EQ(node().counters_.limited, 1u);
}

TEST_F(PublishTest, OldReservationsAreTakenBack) {
  const auto id = node().Reserve(node().Segment(1));
  node().clock_.Advance(node().config_.lease_max_age + absl::Seconds(1));
  node().service_->Housekeep();
  EXPECT_EQ(node().Stats().reservations, 0u);
  EXPECT_EQ(node().Send(transport::CommitRequest{{id}})->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(PublishTest, ABlobGoesInAndOut) {
  const auto blob = ServiceWorld::Blob(1, 2500);
  const auto id = node().Reserve(blob);
  std::vector<std::byte> bytes(2500);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31);
  EXPECT_TRUE(node().Write(id, bytes, 0, 1)->WaitStatus().ok());
  EXPECT_TRUE(node().Send(transport::CommitRequest{{id}})->WaitStatus().ok());
  EXPECT_TRUE(node()
                  .Send(transport::AdminRequest{.verb = transport::AdminVerb::kFlush})
                  ->WaitStatus()
                  .ok());
  EXPECT_EQ(node().memory_disk_->Stats().payload_bytes, 2500u);
}

TEST_F(PublishTest, OnlyAWriteOrAReserveBringsAPayload) {
  FakeCallOptions options = node().Options();
  options.payload = std::vector<std::byte>(10);
  EXPECT_EQ(node().Send(transport::AbortRequest{{1}}, options)->WaitStatus().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(PublishTest, ASpecThatIsWrongOrTooLargeIsRefused) {
  EXPECT_EQ(node().Send(transport::RegisterModelRequest{"{}"})->WaitStatus().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(node().Send(transport::RegisterModelRequest{"garbage \xff"})->WaitStatus().code(),
            StatusCode::kInvalidArgument);
  base::ModelSpec large = node().model_;
  large.num_layers = 1000;
  const absl::Status status =
      node().Send(transport::RegisterModelRequest{large.ToJson()})->WaitStatus();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("pool_bytes"));
}

TEST_F(PublishTest, AStoppingNodeSaysSo) {
  node().service_->Drain(absl::ZeroDuration());
  EXPECT_EQ(node().Send(transport::AbortRequest{{1}})->WaitStatus().code(),
            StatusCode::kUnavailable);
}

}  // namespace
}  // namespace cistern::cacheserver
