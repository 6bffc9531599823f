// Leases: from memory, from disk, shared, refused, taken back; and reads that hold on to them.
#include "gmock/gmock.h"

#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using absl::StatusCode;
using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::Where;

class LeaseTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }

  // A committed segment that is on disk only.
  base::ObjectHeader OnDisk(uint32_t text, uint32_t tokens = 16) {
    const auto header = node().Segment(text, tokens);
    node().Publish(header);
    node().MoveToDisk({header});
    return header;
  }
};

TEST_F(LeaseTest, WhatIsInMemoryIsLeasedAtOnce) {
  const auto header = node().Segment(1, 40);
  node().Publish(header);
  const auto reply = node().Send(LeaseRequest{{node().IdOf(header), 4711}})->WaitFor<LeaseReply>();
  EXPECT_EQ(reply.results[0].outcome, LeaseOutcome::kLeased);
  EXPECT_FALSE(reply.results[0].from_disk);
  EXPECT_EQ(reply.results[0].blocks.size(), 3u);
  EXPECT_EQ(reply.results[1].outcome, LeaseOutcome::kGone);
}

TEST_F(LeaseTest, WhatIsOnDiskIsReadFirst) {
  const auto header = OnDisk(1, 21);
  const auto reply = node().Send(LeaseRequest{{node().IdOf(header)}})->WaitFor<LeaseReply>();
  EXPECT_EQ(reply.results[0].outcome, LeaseOutcome::kLeased);
  EXPECT_TRUE(reply.results[0].from_disk);
  const auto read = node().Send(transport::ReadRequest{{reply.results[0].lease}, 0, 2});
  read->Wait();
  EXPECT_EQ(read->Payload(), node().Rows(header, 0, 2));
}

TEST_F(LeaseTest, SeveralWhoWantTheSameWaitForOneRead) {
  const auto header = OnDisk(1);
  const auto id = node().IdOf(header);
  node().disk_->Block();
  const auto first = node().Send(LeaseRequest{{id}});
  node().disk_->AwaitBlocked(1);
  const auto second = node().Send(LeaseRequest{{id}}, kOther);
  EXPECT_FALSE(first->answered());
  EXPECT_FALSE(second->answered());
  node().disk_->Release();
  EXPECT_EQ(first->WaitFor<LeaseReply>().results[0].outcome, LeaseOutcome::kLeased);
  EXPECT_EQ(second->WaitFor<LeaseReply>().results[0].outcome, LeaseOutcome::kLeased);
  EXPECT_EQ(node().memory_disk_->reads(), 1u);
  EXPECT_EQ(node().counters_.coalesced_stages, 1u);
}

TEST_F(LeaseTest, ADamagedRecordIsGone) {
  const auto header = OnDisk(1);
  const auto id = node().IdOf(header);
  node().memory_disk_->Damage(header);
  EXPECT_EQ(node().Send(LeaseRequest{{id}})->WaitFor<LeaseReply>().results[0].outcome,
            LeaseOutcome::kGone);
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
  EXPECT_EQ(node().Stats().corrupt_records, 1u);
  EXPECT_EQ(node().counters_.corrupt, 1u);
}

TEST_F(LeaseTest, ADiskThatFailsOnceIsAskedAgainNextTime) {
  const auto header = OnDisk(1);
  const auto id = node().IdOf(header);
  node().disk_->FailReads(absl::UnavailableError("I/O error"), 1);
  EXPECT_EQ(node().Send(LeaseRequest{{id}})->WaitFor<LeaseReply>().results[0].outcome,
            LeaseOutcome::kGone);
  EXPECT_EQ(node().Send(LeaseRequest{{id}})->WaitFor<LeaseReply>().results[0].outcome,
            LeaseOutcome::kLeased);
}

TEST_F(LeaseTest, ASlowDiskIsNotWaitedForPastTheDeadline) {
  const auto header = OnDisk(1);
  node().disk_->Block();
  const auto lease = node().Send(LeaseRequest{{node().IdOf(header)}});
  node().disk_->AwaitBlocked(1);
  node().clock_.Advance(absl::Milliseconds(4900));
  node().service_->Housekeep();
  EXPECT_EQ(lease->WaitFor<LeaseReply>().results[0].outcome, LeaseOutcome::kNoRoom);
  node().disk_->Release();
  node().disk_pool_->Stop();
  EXPECT_EQ(node().Stats().leases, 0u) << "nobody knows of it";
}

TEST_F(LeaseTest, ASessionThatDiesMeanwhileIsLeasedNothing) {
  const auto header = OnDisk(1);
  node().disk_->Block();
  const auto lease = node().Send(LeaseRequest{{node().IdOf(header)}}, kOther);
  node().disk_->AwaitBlocked(1);
  node().service_->OnClose(kOther);
  node().disk_->Release();
  lease->Wait();
  EXPECT_EQ(node().Stats().leases, 0u);
}

TEST_F(LeaseTest, WithMemoryFullOfLeasesItWaitsForARelease) {
  const auto on_disk = OnDisk(1);
  const auto large = node().Segment(2, 64 * 16);
  node().Publish(large);
  const auto held = node().Lease(large, kOther);
  const auto waiting = node().Send(LeaseRequest{{node().IdOf(on_disk)}});
  EXPECT_FALSE(waiting->answered());
  EXPECT_TRUE(node().Send(transport::ReleaseRequest{{held}}, kOther)->WaitStatus().ok());
  EXPECT_EQ(waiting->WaitFor<LeaseReply>().results[0].outcome, LeaseOutcome::kLeased);
}

// Which is not the finder's: that one stays.
TEST_F(LeaseTest, AFindGivesBackItsOwnSessionsLeases) {
  const auto header = node().Segment(1);
  node().Publish(header);
  const auto own = node().Lease(header), others = node().Lease(header, kOther);
  transport::FindRequest find;
  find.release = {own, others, 4711};
  find.model = base::Key{1, 2};  // unknown: what is given back is, all the same
  EXPECT_EQ(node().Send(find)->WaitStatus().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(node().Stats().leases, 1u);
  EXPECT_EQ(node().Send(transport::ReadRequest{{own}, 0, 2})->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_TRUE(node().Send(transport::ReadRequest{{others}, 0, 2}, kOther)->WaitStatus().ok());
}

TEST_F(LeaseTest, RoomThatAFindGivesBackIsFoundByWhoWaits) {
  const auto on_disk = OnDisk(1);
  const auto large = node().Segment(2, 64 * 16);
  node().Publish(large);
  transport::FindRequest find;
  find.release = {node().Lease(large, kOther)};
  const auto waiting = node().Send(LeaseRequest{{node().IdOf(on_disk)}});
  EXPECT_FALSE(waiting->answered());
  EXPECT_TRUE(node().Send(find, kOther)->WaitStatus().ok());
  EXPECT_EQ(waiting->WaitFor<LeaseReply>().results[0].outcome, LeaseOutcome::kLeased);
}

// The first fills the memory that the second needs, and goes back only when the call is answered.
TEST_F(LeaseTest, WhatItHoldsItselfIsNotWaitedFor) {
  const auto a = OnDisk(1, 40 * 16), b = OnDisk(2, 40 * 16);
  const auto reply =
      node().Send(LeaseRequest{{node().IdOf(a), node().IdOf(b)}})->WaitFor<LeaseReply>();
  EXPECT_EQ(reply.results[0].outcome, LeaseOutcome::kLeased);
  EXPECT_EQ(reply.results[1].outcome, LeaseOutcome::kNoRoom);
}

TEST_F(LeaseTest, ALimitOfTheSessionIsNoRoom) {
  WorldOptions options;
  options.config.max_leases_per_session = 1;
  Make(options);
  const auto a = node().Segment(1), b = node().Segment(2);
  node().Publish(a);
  node().Publish(b);
  const auto reply =
      node().Send(LeaseRequest{{node().IdOf(a), node().IdOf(b)}})->WaitFor<LeaseReply>();
  EXPECT_EQ(reply.results[0].outcome, LeaseOutcome::kLeased);
  EXPECT_EQ(reply.results[1].outcome, LeaseOutcome::kNoRoom);
}

TEST_F(LeaseTest, OldLeasesAreTakenBackAndNoLongerRead) {
  const auto header = node().Segment(1);
  node().Publish(header);
  const auto lease = node().Lease(header);
  node().clock_.Advance(node().config_.lease_max_age + absl::Seconds(1));
  node().service_->Housekeep();
  EXPECT_EQ(node().Stats().leases, 0u);
  EXPECT_EQ(node().counters_.expired_leases, 1u);
  EXPECT_EQ(node().Send(transport::ReadRequest{{lease}, 0, 2})->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_TRUE(node().Send(transport::ReleaseRequest{{lease}})->WaitStatus().ok());
}

TEST_F(LeaseTest, ReadsOfWhatIsNotHeldAreRefused) {
  const auto header = node().Segment(1);
  node().Publish(header);
  const auto lease = node().Lease(header);
  using transport::ReadRequest;
  EXPECT_EQ(node().Send(ReadRequest{{lease}, 0, 2}, kOther)->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(node().Send(ReadRequest{{lease}, 0, 3})->WaitStatus().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(node().Send(ReadRequest{{lease}, 1, 1})->WaitStatus().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(node().Send(ReadRequest{{}, 0, 1})->WaitStatus().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(node().Send(ReadRequest{{lease + 1}, 0, 1})->WaitStatus().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_TRUE(node().Send(ReadRequest{{lease}, 0, 2})->WaitStatus().ok());
}

TEST_F(LeaseTest, WhatIsBeingSentStaysThoughItIsReleased) {
  const auto header = node().Segment(1, 64 * 16);
  node().Publish(header);
  const auto lease = node().Lease(header);
  FakeCallOptions options = node().Options();
  options.hold_sent = true;
  const auto read = node().Send(transport::ReadRequest{{lease}, 0, 2}, options);
  read->Wait();
  EXPECT_TRUE(node().Send(transport::ReleaseRequest{{lease}})->WaitStatus().ok());
  EXPECT_EQ(node().Stats().leases, 1u);
  EXPECT_EQ(node().Send(transport::ReadRequest{{lease}, 0, 2})->WaitStatus().code(),
            StatusCode::kFailedPrecondition)
      << "it has been released";
  EXPECT_EQ(read->Payload(), node().Rows(header, 0, 2));
  read->FinishSending();
  EXPECT_EQ(node().Stats().leases, 0u);
}

TEST_F(LeaseTest, WhatIsBeingSentStaysThoughItsSessionDies) {
  const auto header = node().Segment(1);
  node().Publish(header);
  const auto lease = node().Lease(header);
  FakeCallOptions options = node().Options();
  options.hold_sent = true;
  const auto read = node().Send(transport::ReadRequest{{lease}, 0, 2}, options);
  read->Wait();
  node().service_->OnClose(kSession);
  EXPECT_EQ(node().Stats().leases, 1u);
  EXPECT_FALSE(node().service_->Drain(absl::ZeroDuration())) << "it still counts as in progress";
  read->FinishSending();
  EXPECT_EQ(node().Stats().leases, 0u);
  EXPECT_TRUE(node().service_->Drain(absl::ZeroDuration()));
}

}  // namespace
}  // namespace cistern::cacheserver
