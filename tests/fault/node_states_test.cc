// States under a node when something breaks: a checkpoint goes while its log is read, a record on
// disk is torn. What stands on it goes with it, and nothing else; who reads, reads on.
#include "gmock/gmock.h"

#include "tests/unit/cacheserver/states_fixture.h"

namespace cistern::cacheserver {
namespace {

using base::ObjectHeader;
using storage::TestCheckpoint;
using storage::TestFirstLog;
using storage::TestLog;
using testing::ElementsAre;
using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;

class NodeStatesTest : public StatesTest {
 protected:
  void SetUp() override {
    StatesTest::SetUp();
    state_ = TestCheckpoint(spec(), a_, 16);
    log_ = TestLog(spec(), state_, 5, 7);
    next_ = TestLog(spec(), log_, 6, 9);
    other_ = TestFirstLog(spec(), 7, 4);
  }
  transport::ObjectRef Found(const ObjectHeader& header, bool lease) {
    const transport::FindReply reply = Find({}, lease);
    for (const transport::ObjectRef& object : reply.objects) {
      if (reply.HeaderOf(object) == header) return object;
    }
    ADD_FAILURE() << "it was not found";
    return {};
  }
  std::vector<std::byte> Read(transport::LeaseId lease, const ObjectHeader& header) {
    const auto read = node().Send(transport::ReadRequest{{lease}, 0, LayersOf(header)});
    EXPECT_TRUE(read->WaitStatus().ok()) << read->WaitStatus();
    return read->Payload();
  }
  void Evict(const ObjectHeader& header) {
    EXPECT_TRUE(node()
                    .Send(transport::AdminRequest{.verb = transport::AdminVerb::kEvict,
                                                  .key = header.content})
                    ->WaitStatus()
                    .ok());
  }
  LeaseOutcome Lease(transport::ObjectId id) {
    return node().Send(LeaseRequest{{id}})->WaitFor<LeaseReply>().results.at(0).outcome;
  }
  // All that there is, out of memory.
  void ToDisk(const std::vector<ObjectHeader>& headers) {
    EXPECT_TRUE(node()
                    .Send(transport::AdminRequest{.verb = transport::AdminVerb::kFlush})
                    ->WaitStatus()
                    .ok());
    node().FillMemory();
    for (const ObjectHeader& header : headers)
      EXPECT_EQ(Found(header, false).where, transport::Where::kDisk);
  }

  ObjectHeader state_, log_, next_;  // each on the one before it
  ObjectHeader other_;               // on nothing
};

TEST_F(NodeStatesTest, ALogIsReadToItsEndThoughItsCheckpointIsEvicted) {
  EXPECT_EQ(Publish({state_, log_, next_, other_}), 4u);
  const auto leased =
      node().Send(LeaseRequest{{Found(log_, false).id}})->WaitFor<LeaseReply>().results.at(0);
  const transport::LeaseId lease = leased.lease;
  ASSERT_NE(lease, 0u);
  Evict(state_);
  EXPECT_THAT(States({}), ElementsAre(other_));
  EXPECT_EQ(Read(lease, log_), BytesOf(log_));
  EXPECT_EQ(Publish({log_}), 0u) << "what it needs is gone";
  EXPECT_EQ(Publish({state_, log_}), 2u);
  EXPECT_EQ(Read(lease, log_), BytesOf(log_)) << "the first one, beside the second";
}

TEST_F(NodeStatesTest, ATornLogTakesWhatIsBehindItAlongAndNothingElse) {
  EXPECT_EQ(Publish({state_, log_, next_, other_}), 4u);
  ToDisk({state_, log_, next_, other_});
  const transport::ObjectId log = Found(log_, false).id, state = Found(state_, false).id;
  node().memory_disk_->Damage(log_);
  EXPECT_EQ(Lease(log), LeaseOutcome::kGone);
  EXPECT_THAT(States({}), ElementsAre(state_, other_));
  EXPECT_EQ(Lease(state), LeaseOutcome::kLeased);
  EXPECT_EQ(Read(Found(state_, true).lease, state_), BytesOf(state_));
  // The records of what has gone are deleted, so that no start finds them.
  EXPECT_TRUE(node()
                  .Send(transport::AdminRequest{.verb = transport::AdminVerb::kFlush})
                  ->WaitStatus()
                  .ok());
  EXPECT_TRUE(absl::IsNotFound(node().disk_->Verify({log_.content, log_.context})));
  EXPECT_TRUE(absl::IsNotFound(node().disk_->Verify({next_.content, next_.context})));
  EXPECT_TRUE(node().disk_->Verify({other_.content, other_.context}).ok());
}

TEST_F(NodeStatesTest, ATornCheckpointTakesItsLogsAlong) {
  EXPECT_EQ(Publish({state_, log_, next_, other_}), 4u);
  ToDisk({state_, log_, next_, other_});
  const transport::ObjectId state = Found(state_, false).id;
  node().memory_disk_->Damage(state_);
  EXPECT_EQ(Lease(state), LeaseOutcome::kGone);
  EXPECT_THAT(States({}), ElementsAre(other_));
}

// A worker dies between the entries of its log: what was committed stays, the rest is nobody's.
TEST_F(NodeStatesTest, AWorkerThatDiesInTheMiddleLeavesWhatItHadCommitted) {
  EXPECT_EQ(Publish({state_}), 1u);
  const auto first = node().Reserve(log_, kOther);
  EXPECT_TRUE(node().Write(first, BytesOf(log_), 0, LayersOf(log_), kOther)->WaitStatus().ok());
  EXPECT_TRUE(node().Send(transport::CommitRequest{{first}}, kOther)->WaitStatus().ok());
  const auto second = node().Reserve(next_, kOther);
  const uint64_t block = storage::ShapeOf(next_, &spec(), kPageBytes)->layer_bytes;
  const std::vector<std::byte> bytes = BytesOf(next_);
  EXPECT_TRUE(node()
                  .Write(second, {bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(2 * block)},
                         0, 2, kOther)
                  ->WaitStatus()
                  .ok());
  node().service_->OnClose(kOther);
  EXPECT_THAT(States({}), ElementsAre(state_, log_));
  EXPECT_EQ(node().Stats().reservations, 0u);
  EXPECT_EQ(Publish({next_}), 1u) << "another may write it";
}

}  // namespace
}  // namespace cistern::cacheserver
