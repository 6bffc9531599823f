// Memory to disk: above the watermark, on demand, with a disk that fails or is full.
#include "gmock/gmock.h"

#include "nlohmann/json.hpp"
#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::AdminReply;
using transport::AdminRequest;
using transport::AdminVerb;
using transport::Where;

class DemotionTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }
  nlohmann::json Flush() {
    return nlohmann::json::parse(
        node().Send(AdminRequest{.verb = AdminVerb::kFlush})->WaitFor<AdminReply>().json);
  }
};

TEST_F(DemotionTest, AboveTheWatermarkObjectsAreWrittenWithoutBeingAsked) {
  for (uint32_t i = 0; i < 62; ++i) node().Publish(node().Segment(i));
  // The last commit has kicked the demoter; a flush waits behind its round.
  Flush();
  EXPECT_EQ(node().memory_disk_->records(), 62u);
  EXPECT_GT(node().counters_.demotion_batches, 1u);
  EXPECT_EQ(node().Stats().dirty_bytes, 0u);
}

TEST_F(DemotionTest, AnEagerNodeWritesEverythingSoon) {
  WorldOptions options;
  options.config.demote_eagerly = true;
  Make(options);
  node().Publish(node().Segment(1));
  while (node().Stats().demoted_objects == 0) node().service_->Housekeep();
  EXPECT_EQ(node().memory_disk_->records(), 1u);
}

TEST_F(DemotionTest, AFlushSaysWhatItWrote) {
  node().Publish(node().Segment(1, 21));
  node().Publish(node().Segment(2));
  const auto json = Flush();
  EXPECT_EQ(json.at("flushed_objects"), 2);
  EXPECT_EQ(json.at("flushed_bytes"), (21 + 16) * 64);
  EXPECT_EQ(json.at("dirty_bytes_left"), 0);
  EXPECT_EQ(json.at("error"), "");
}

TEST_F(DemotionTest, AFlushThatFailsSaysWhyAndNothingIsLost) {
  const auto header = node().Segment(1);
  node().Publish(header);
  node().disk_->FailWrites(absl::UnavailableError("I/O error"));
  const auto json = Flush();
  EXPECT_EQ(json.at("flushed_objects"), 0);
  EXPECT_GT(json.at("dirty_bytes_left"), 0);
  EXPECT_THAT(json.at("error").get<std::string>(), testing::HasSubstr("I/O error"));
  EXPECT_EQ(node().WhereIs(header), Where::kMemory);
  node().disk_->FailWrites(absl::OkStatus());
  EXPECT_EQ(Flush().at("flushed_objects"), 1);
}

TEST_F(DemotionTest, AFlushTriesAgainWhatFailedEarlierAfterTheRest) {
  node().Publish(node().Segment(1));
  node().disk_->FailWrites(absl::UnavailableError("I/O error"));
  EXPECT_EQ(Flush().at("flushed_objects"), 0);
  node().disk_->FailWrites(absl::OkStatus());
  node().Publish(node().Segment(2));
  const auto json = Flush();
  EXPECT_EQ(json.at("flushed_objects"), 2);
  EXPECT_EQ(json.at("dirty_bytes_left"), 0);
}

TEST_F(DemotionTest, AFullDiskDoesNotStopTheNode) {
  node().disk_->FailWrites(absl::ResourceExhaustedError("disk full"));
  const auto old = node().Segment(1, 60 * 16), young = node().Segment(2, 60 * 16);
  node().Publish(old);
  node().Publish(young);  // room is made by dropping what the disk did not take
  EXPECT_EQ(node().WhereIs(young), Where::kMemory);
  EXPECT_EQ(node().WhereIs(old), Where::kMiss);
}

TEST_F(DemotionTest, ARecordNeverPrecedesItsModel) {
  node().disk_->FailWrites(absl::UnavailableError("I/O error"), 1);
  base::ModelSpec other = node().model_;
  other.revision = "other";
  EXPECT_TRUE(node().Send(transport::RegisterModelRequest{other.ToJson()})->WaitStatus().ok());
  EXPECT_EQ(node().memory_disk_->models(), 1u) << "the disk refused it, the node knows it";
  node().model_ = other;
  node().Publish(node().Segment(1));
  EXPECT_EQ(Flush().at("flushed_objects"), 1);  // MemoryDisk refuses records of unknown models
  EXPECT_EQ(node().memory_disk_->models(), 2u);
}

// The deletion of the old record fails in the very batch that writes the new one.
TEST_F(DemotionTest, ARetriedDeletionDoesNotTakeTheNewRecord) {
  auto header = node().Segment(1);
  header.lineage = base::Lineage::kApproximate;
  node().Publish(header);
  Flush();
  node().disk_->FailDeletes(absl::UnavailableError("busy"));
  header.lineage = base::Lineage::kExact;
  node().Publish(header);
  EXPECT_EQ(Flush().at("flushed_objects"), 1);
  node().disk_->FailDeletes(absl::OkStatus());
  Flush();
  Flush();  // waits behind whatever the first still deleted
  EXPECT_EQ(node().memory_disk_->records(), 1u);
}

TEST_F(DemotionTest, EvictedObjectsLeaveTheDiskToo) {
  const auto header = node().Segment(1);
  node().Publish(header);
  Flush();
  ASSERT_EQ(node().memory_disk_->records(), 1u);
  EXPECT_TRUE(node()
                  .Send(AdminRequest{.verb = AdminVerb::kEvict, .key = header.content})
                  ->WaitStatus()
                  .ok());
  Flush();  // waits behind the deletion
  EXPECT_EQ(node().memory_disk_->records(), 0u);
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
}

TEST_F(DemotionTest, WithoutADiskAFlushIsRefused) {
  Make({.disk = false});
  EXPECT_EQ(node().Send(AdminRequest{.verb = AdminVerb::kFlush})->WaitStatus().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace cistern::cacheserver
