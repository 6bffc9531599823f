// A disk that hangs under a node: what lies in memory is found, leased and read meanwhile, and
// published too.
#include "gtest/gtest.h"

#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;

class NodeSlowDiskTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }
};

TEST_F(NodeSlowDiskTest, HitsInMemoryDoNotWaitForADiskThatHangs) {
  const auto in_memory = node().Segment(1, 40), on_disk = node().Segment(2, 40);
  node().Publish(on_disk);
  node().MoveToDisk({on_disk});
  node().Publish(in_memory);
  node().disk_->Block();
  const auto staging = node().Send(LeaseRequest{{node().IdOf(on_disk)}}, kOther);
  node().disk_->AwaitBlocked(1);

  const auto reply = node().Send(LeaseRequest{{node().IdOf(in_memory)}})->WaitFor<LeaseReply>();
  EXPECT_EQ(reply.results[0].outcome, LeaseOutcome::kLeased);
  EXPECT_FALSE(reply.results[0].from_disk);
  const auto read = node().Send(transport::ReadRequest{{reply.results[0].lease}, 0, 2});
  read->Wait();
  EXPECT_EQ(read->Payload(), node().Rows(in_memory, 0, 2));
  const auto published = node().Segment(3, 40);
  node().Publish(published);
  EXPECT_EQ(node().WhereIs(published), transport::Where::kMemory);

  EXPECT_FALSE(staging->answered()) << "the disk did not hang";
  node().disk_->Release();
  EXPECT_EQ(staging->WaitFor<LeaseReply>().results[0].outcome, LeaseOutcome::kLeased);
}

}  // namespace
}  // namespace cistern::cacheserver
