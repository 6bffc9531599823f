// The room of deleted records comes back, and nothing else goes.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "rocksdb/db.h"

#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class DiskReclaimTest : public DiskTest {
 protected:
  // Writes objects first..last, all in one commit, so that they share a file.
  void WriteTogether(uint64_t first, uint64_t last, uint64_t bytes) {
    std::vector<TestObject> objects;
    std::vector<DiskTier::Item> items;
    for (uint64_t i = first; i <= last; ++i) objects.push_back(Segment(i, bytes));
    for (const TestObject& object : objects) items.push_back(object.Item());
    for (const absl::Status& status : tier_->Write(items)) ASSERT_EQ(status, absl::OkStatus());
  }
  void Delete(uint64_t first, uint64_t last, uint64_t step = 1) {
    std::vector<RecordKey> keys;
    for (uint64_t i = first; i <= last; i += step) keys.push_back(Segment(i, 1).key());
    ASSERT_EQ(tier_->Delete(keys), absl::OkStatus());
  }
  void ExpectWhole(uint64_t first, uint64_t last, uint64_t bytes, uint64_t step = 1) {
    for (uint64_t i = first; i <= last; i += step)
      EXPECT_EQ(CheckReadBack(*tier_, Segment(i, bytes)), absl::OkStatus());
  }
  int NumFiles() {
    std::string files;
    EXPECT_TRUE(tier_->rocks().db()->GetProperty(tier_->rocks().pieces(),
                                                 "rocksdb.num-files-at-level1", &files));
    return std::stoi(files);
  }
};

TEST_F(DiskReclaimTest, AFileWithoutAnythingLiveIsUnlinked) {
  Open();
  WriteTogether(1, 20, kMiB);
  WriteTogether(21, 40, kMiB);
  const uint64_t before = DirectoryBytes(options_.disk.path);
  Delete(1, 20);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(DirectoryBytes(options_.disk.path) + 19 * kMiB, before);
  EXPECT_EQ(NumFiles(), 1);
  ExpectWhole(21, 40, kMiB);
}

TEST_F(DiskReclaimTest, AFileWithSomeGarbageIsRewrittenWithoutIt) {
  Open();
  WriteTogether(1, 40, kMiB);
  const uint64_t before = DirectoryBytes(options_.disk.path);
  Delete(1, 40, 2);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(DirectoryBytes(options_.disk.path) + 19 * kMiB, before);
  EXPECT_GE(tier_->Stats().reclaimed_bytes, 19 * kMiB);
  EXPECT_LT(tier_->Stats().file_bytes, 21 * kMiB);
  ExpectWhole(2, 40, kMiB, 2);
  Open();
  ExpectWhole(2, 40, kMiB, 2);
  EXPECT_EQ(CheckReadBack(*tier_, Segment(1, kMiB)).code(), absl::StatusCode::kNotFound);
}

TEST_F(DiskReclaimTest, WhatWasReplacedIsGarbageToo) {
  Open();
  for (int round = 0; round < 4; ++round) WriteTogether(1, 10, kMiB);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(tier_->Stats().file_bytes, 11 * kMiB);
  ExpectWhole(1, 10, kMiB);
}

// Without anybody asking, down to the bound that DiskOptions states. If it never comes, the test's
// time limit says so.
TEST_F(DiskReclaimTest, HappensInTheBackground) {
  options_.reclaim.slack_bytes = 4 * kMiB;
  Open();
  for (uint64_t i = 0; i < 8; ++i) WriteTogether(i * 10 + 1, i * 10 + 10, kMiB);
  Delete(1, 80, 2);
  while (tier_->Stats().file_bytes > 51 * kMiB)
    std::this_thread::yield();  // live 40, a quarter of it, and marks
  ExpectWhole(2, 80, kMiB, 2);
  EXPECT_EQ(tier_->Stats().reclaim_failures, 0u);
}

TEST_F(DiskReclaimTest, SmallFilesAreMerged) {
  options_.reclaim.small_files = 1000;  // not in the background
  Open();
  for (uint64_t i = 1; i <= 30; ++i)
    ASSERT_EQ(WriteOne(*tier_, Segment(i, 50000)), absl::OkStatus());
  EXPECT_EQ(NumFiles(), 30);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(NumFiles(), 1);
  ExpectWhole(1, 30, 50000);
  ASSERT_EQ(WriteOne(*tier_, Segment(31, 50000)), absl::OkStatus());
  Open();
  ExpectWhole(1, 31, 50000);
}

// Tiny payloads are mostly overhead: that is not garbage, and reclaiming must not turn in circles
// over it.
TEST_F(DiskReclaimTest, OverheadIsNotGarbage) {
  Open();
  WriteTogether(1, 2000, 3);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  ExpectWhole(1, 2000, 3, 97);
}

// Pieces whose header never came (a kill in between) are garbage after the start; their numbers are
// not used again.
TEST_F(DiskReclaimTest, PiecesWithoutAHeaderGoAtTheStart) {
  options_.reclaim.slack_bytes = 0;
  Open();
  WriteTogether(1, 4, kMiB);
  const RocksDb& rocks = tier_->rocks();
  ASSERT_TRUE(
      rocks.db()
          ->Delete(rocksdb::WriteOptions(), rocks.headers(), EncodeRecordKey(Segment(4, 1).key()))
          .ok());
  Open();
  EXPECT_EQ(tier_->Stats().records, 3u);
  WriteTogether(5, 5, kMiB);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(tier_->Stats().file_bytes, 4 * kMiB + kMiB / 2);
  ExpectWhole(1, 3, kMiB);
  ExpectWhole(5, 5, kMiB);
}

}  // namespace
}  // namespace cistern::storage
