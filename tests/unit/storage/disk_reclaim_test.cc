// The room of deleted records comes back, and nothing else goes.
#include <atomic>
#include <chrono>
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
};

TEST_F(DiskReclaimTest, AFileWithoutAnythingLiveIsUnlinked) {
  options_.log.file_bytes = 1;  // a file for each commit
  Open();
  WriteTogether(1, 20, kMiB);
  WriteTogether(21, 40, kMiB);
  ASSERT_EQ(PayloadFiles().size(), 2u);
  const uint64_t before = DirectoryBytes(options_.disk.path);
  Delete(1, 20);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(DirectoryBytes(options_.disk.path) + 19 * kMiB, before);
  EXPECT_EQ(PayloadFiles().size(), 1u);
  ExpectWhole(21, 40, kMiB);
}

TEST_F(DiskReclaimTest, TheRoomOfDeletedRecordsIsPunchedOut) {
  Open();
  WriteTogether(1, 40, kMiB);
  const uint64_t before = DirectoryBytes(options_.disk.path);
  Delete(1, 40, 2);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(DirectoryBytes(options_.disk.path) + 19 * kMiB, before);
  EXPECT_EQ(tier_->Stats().reclaimed_bytes, 20 * kMiB);
  EXPECT_EQ(tier_->Stats().file_bytes, 20 * kMiB);
  ExpectWhole(2, 40, kMiB, 2);
  Open();
  ExpectWhole(2, 40, kMiB, 2);
  EXPECT_EQ(CheckReadBack(*tier_, Segment(1, kMiB)).code(), absl::StatusCode::kNotFound);
}

TEST_F(DiskReclaimTest, WhatWasReplacedIsGarbageToo) {
  Open();
  for (int round = 0; round < 4; ++round) WriteTogether(1, 10, kMiB);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().file_bytes, 10 * kMiB);
  ExpectWhole(1, 10, kMiB);
}

// Without anybody asking, all of it, within a minute as the file system counts.
TEST_F(DiskReclaimTest, HappensInTheBackground) {
  Open();
  for (uint64_t i = 0; i < 8; ++i) WriteTogether(i * 10 + 1, i * 10 + 10, kMiB);
  const uint64_t before = DirectoryBytes(options_.disk.path);
  const auto begin = std::chrono::steady_clock::now();
  Delete(1, 80, 2);
  while (DirectoryBytes(options_.disk.path) + 39 * kMiB >= before &&
         std::chrono::steady_clock::now() - begin < std::chrono::minutes(1))
    std::this_thread::yield();
  EXPECT_LT(DirectoryBytes(options_.disk.path) + 39 * kMiB, before);
  RecordProperty("milliseconds", static_cast<int>((std::chrono::steady_clock::now() - begin) /
                                                  std::chrono::milliseconds(1)));
  ExpectWhole(2, 80, kMiB, 2);
  EXPECT_EQ(tier_->Stats().reclaim_failures, 0u);
}

// A tier that is always full of other things takes no more room than what lives: what evicted
// objects had is used again.
TEST_F(DiskReclaimTest, TheDirectoryDoesNotGrowWhenRecordsComeAndGo) {
  options_.log.file_bytes = 8 * kMiB;
  options_.log.step_bytes = kMiB;
  Open();
  for (uint64_t i = 0; i < 30; ++i) {
    WriteTogether(i * 4 + 1, i * 4 + 4, kMiB);
    if (i >= 3) Delete((i - 3) * 4 + 1, (i - 3) * 4 + 4);
    ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
    EXPECT_LE(DirectoryBytes(options_.disk.path), 18 * kMiB) << i;  // 16 live, a step, headers
  }
  EXPECT_LE(PayloadFiles().size(), 4u);
  ExpectWhole(28 * 4 + 1, 30 * 4, kMiB);
}

// Neighbours that are given back together need one call.
TEST_F(DiskReclaimTest, NeighboursGoInOneCall) {
  class Counting final : public DiskCalls {
   public:
    int PunchHole(int fd, uint64_t offset, uint64_t bytes) override {
      ++calls_;
      return DiskCalls::PunchHole(fd, offset, bytes);
    }
    int calls() const { return calls_; }

   private:
    std::atomic<int> calls_{0};
  } calls;
  options_.log.calls = &calls;
  Open();
  WriteTogether(1, 30, kMiB / 4);
  const int before = calls.calls();
  std::vector<RecordKey> keys;
  for (const uint64_t i : {14, 12, 13, 11, 15, 16, 10}) keys.push_back(Segment(i, 1).key());
  ASSERT_EQ(tier_->Delete(keys), absl::OkStatus());
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(calls.calls(), before + 1);
  ExpectWhole(1, 9, kMiB / 4);
  ExpectWhole(17, 30, kMiB / 4);
  tier_.reset();  // before `calls`
}

// Rounding up to pages is not garbage.
TEST_F(DiskReclaimTest, OverheadIsNotGarbage) {
  Open();
  WriteTogether(1, 2000, 3);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().file_bytes, 2000u * 4096);
  EXPECT_EQ(tier_->Stats().reclaimed_bytes, 0u);
  ExpectWhole(1, 2000, 3, 97);
}

// Payload whose header never came (a kill in between) is garbage after the start, whether it lies
// between others, behind them, or alone in a file.
TEST_F(DiskReclaimTest, PayloadWithoutAHeaderGoesAtTheStart) {
  Open();
  WriteTogether(1, 4, kMiB);
  Open();  // begins another file
  WriteTogether(11, 14, kMiB);
  Open();
  WriteTogether(21, 21, kMiB);
  const uint64_t before = DirectoryBytes(options_.disk.path);
  const RocksDb& rocks = tier_->rocks();
  for (const uint64_t i : {2, 4, 11, 12, 21}) {
    ASSERT_TRUE(
        rocks.db()
            ->Delete(rocksdb::WriteOptions(), rocks.headers(), EncodeRecordKey(Segment(i, 1).key()))
            .ok());
  }
  Open();
  EXPECT_EQ(tier_->Stats().records, 4u);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().file_bytes, 4 * kMiB);
  EXPECT_LE(DirectoryBytes(options_.disk.path) + 4 * kMiB, before);
  EXPECT_EQ(PayloadFiles().size(), 2u);
  WriteTogether(5, 5, kMiB);
  for (const uint64_t i : {1, 3, 13, 14, 5}) ExpectWhole(i, i, kMiB);
}

// ---- Reads beside it.

// Stops a read between its lookup and the disk, so that a test can do what it likes meanwhile.
class Gate final : public DiskCalls {
 public:
  ssize_t Read(int fd, const iovec* parts, int count, uint64_t offset) override {
    {
      base::MutexLock lock(&mutex_);
      if (closed_) {
        closed_ = false;
        waiting_ = true;
        changed_.notify_all();
        changed_.wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !waiting_; });
      }
    }
    return DiskCalls::Read(fd, parts, count, offset);
  }
  void CloseForOne() {
    base::MutexLock lock(&mutex_);
    closed_ = true;
  }
  void AwaitReader() {
    base::MutexLock lock(&mutex_);
    changed_.wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return waiting_; });
  }
  void LetGo() {
    {
      base::MutexLock lock(&mutex_);
      waiting_ = false;
    }
    changed_.notify_all();
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  bool closed_ = false, waiting_ = false;
};

class DiskReclaimRaceTest : public DiskReclaimTest, public ::testing::WithParamInterface<bool> {
 protected:
  ~DiskReclaimRaceTest() override { tier_.reset(); }
  Gate gate_;
};

// With and without verification: a reader whose bytes were punched out under it gets none of the
// zeros.
TEST_P(DiskReclaimRaceTest, AReaderNeverGetsWhatWasGivenBack) {
  options_.disk.verify_checksums = GetParam();
  options_.log.calls = &gate_;
  Open();
  WriteTogether(1, 2, kMiB);
  for (const bool replaced : {false, true}) {
    SCOPED_TRACE(replaced);
    gate_.CloseForOne();
    absl::Status read = absl::UnknownError("not yet");
    std::thread reader([&] { read = CheckReadBack(*tier_, Segment(1, kMiB)); });
    gate_.AwaitReader();
    Delete(1, 1);
    if (replaced) WriteTogether(1, 1, kMiB);
    ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
    gate_.LetGo();
    reader.join();
    EXPECT_EQ(read.code(), replaced ? absl::StatusCode::kOk : absl::StatusCode::kNotFound) << read;
    if (!replaced) WriteTogether(1, 1, kMiB);
  }
  ExpectWhole(1, 2, kMiB);
  EXPECT_EQ(tier_->Stats().checksum_failures, 0u);
}

// The whole file is gone.
TEST_P(DiskReclaimRaceTest, AReaderOfAFileThatIsRemoved) {
  options_.disk.verify_checksums = GetParam();
  options_.log.calls = &gate_;
  options_.log.file_bytes = 1;
  Open();
  WriteTogether(1, 1, kMiB);
  WriteTogether(2, 2, kMiB);
  gate_.CloseForOne();
  absl::Status read = absl::UnknownError("not yet");
  std::thread reader([&] { read = CheckReadBack(*tier_, Segment(1, kMiB)); });
  gate_.AwaitReader();
  Delete(1, 1);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(PayloadFiles().size(), 1u);
  gate_.LetGo();
  reader.join();
  EXPECT_EQ(read.code(), absl::StatusCode::kNotFound) << read;
  ExpectWhole(2, 2, kMiB);
}

INSTANTIATE_TEST_SUITE_P(Verification, DiskReclaimRaceTest, ::testing::Bool());

}  // namespace
}  // namespace cistern::storage
