// Damage on disk: every kind of it is found before a byte is used, counted, and costs no other
// object.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"

#include "storage/tier/record.h"
#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr uint64_t kPiece = 2 << 20;

class DiskCorruptionTest : public DiskTest {
 protected:
  // The tier with three objects, each in a file of its own; the first has the write number 1.
  void SetUp() override {
    Open();
    for (const TestObject& object : objects_) ASSERT_EQ(WriteOne(*tier_, object), absl::OkStatus());
  }

  // Writes past the tier, as bad memory or another program would.
  void PutPiece(const PieceKey& key, const std::string& bytes) {
    const RocksDb& rocks = tier_->rocks();
    ASSERT_TRUE(rocks.db()->Put(rocksdb::WriteOptions(), rocks.pieces(), key.Encode(), bytes).ok());
  }
  void PutHeader(const std::string& key, const std::string& bytes) {
    const RocksDb& rocks = tier_->rocks();
    ASSERT_TRUE(rocks.db()->Put(rocksdb::WriteOptions(), rocks.headers(), key, bytes).ok());
  }
  std::string Header(const TestObject& object) {
    std::string bytes;
    const RocksDb& rocks = tier_->rocks();
    EXPECT_TRUE(
        rocks.db()
            ->Get(rocksdb::ReadOptions(), rocks.headers(), EncodeRecordKey(object.key()), &bytes)
            .ok());
    return bytes;
  }

  // The files of payload, largest first. The tier must be closed to change them.
  std::vector<fs::path> PieceFiles() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(options_.disk.path + "/rocksdb")) {
      if (entry.path().extension() == ".sst") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end(),
              [](auto& a, auto& b) { return fs::file_size(a) > fs::file_size(b); });
    return files;
  }
  void ExpectOnlyTheFirstIsDamaged() {
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(tier_->Stats().checksum_failures, 1u);
    EXPECT_EQ(tier_->Stats().read_failures, 1u);
    EXPECT_EQ(tier_->Verify(objects_[0].key()).code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(tier_->Stats().checksum_failures, 2u);
    ExpectTheOthersAreWhole();
    // The damaged one can be deleted and written again.
    ASSERT_EQ(tier_->Delete({objects_[0].key()}), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kNotFound);
    ASSERT_EQ(WriteOne(*tier_, objects_[0]), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
    ExpectTheOthersAreWhole();
  }
  void ExpectTheOthersAreWhole() {
    EXPECT_EQ(CheckReadBack(*tier_, objects_[1]), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, objects_[2]), absl::OkStatus());
  }

  const std::vector<TestObject> objects_ = {Segment(1, 3 * kPiece + 1000), Segment(2, kPiece + 1),
                                            Blob(3, 100000)};
};

TEST_F(DiskCorruptionTest, AFlippedByteInAPiece) {
  tier_.reset();
  FlipByte(PieceFiles()[0], kPiece + 12345);
  Open();
  ExpectOnlyTheFirstIsDamaged();
}

// Index, properties and footer lie at the end of a file: without them none of its pieces can be
// found.
TEST_F(DiskCorruptionTest, AFlippedByteInTheTailOfAFile) {
  for (uint64_t from_end : {10, 45, 200, 600, 900}) {
    SCOPED_TRACE(from_end);
    tier_.reset();
    const fs::path file = PieceFiles()[0];
    const uint64_t offset = fs::file_size(file) - from_end;
    FlipByte(file, offset);
    Open();
    EXPECT_NE(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kInternal);
    ExpectTheOthersAreWhole();
    tier_.reset();
    FlipByte(file, offset);
    Open();
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
  }
}

// The reclaimer passes over a file that it cannot read and does the others; once nothing in it
// lives, it goes.
TEST_F(DiskCorruptionTest, ADamagedFileDoesNotStopTheReclaimer) {
  ASSERT_EQ(tier_->Delete({objects_[2].key()}), absl::OkStatus());
  tier_.reset();
  FlipByte(PieceFiles()[0], kPiece + 12345);
  Open();
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(WriteOne(*tier_, Segment(10 + i, 100000)), absl::OkStatus());
  EXPECT_EQ(tier_->Reclaim().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(tier_->Stats().reclaim_failures, 1u);
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(CheckReadBack(*tier_, Segment(10 + i, 100000)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, objects_[1]), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kDataLoss);
  ASSERT_EQ(tier_->Delete({objects_[0].key()}), absl::OkStatus());
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(tier_->Stats().file_bytes, kPiece + 500000);
}

TEST_F(DiskCorruptionTest, ATruncatedFile) {
  tier_.reset();
  fs::resize_file(PieceFiles()[0], kPiece);
  Open();
  ExpectOnlyTheFirstIsDamaged();
}

TEST_F(DiskCorruptionTest, AMissingFile) {
  tier_.reset();
  fs::remove(PieceFiles()[0]);
  Open();
  ExpectOnlyTheFirstIsDamaged();
}

// Below the file's own checksums everything fits: only ours sees that these are other bytes.
TEST_F(DiskCorruptionTest, OtherBytesInPlaceOfAPiece) {
  PutPiece({1, 2}, std::string(kPiece, 'x'));
  ExpectOnlyTheFirstIsDamaged();
}

TEST_F(DiskCorruptionTest, WithoutVerificationOnlyVerifyLooks) {
  options_.disk.verify_checksums = false;
  Open();
  PutPiece({1, 2}, std::string(kPiece, 'x'));
  std::vector<std::byte> bytes;
  EXPECT_EQ(ReadBack(*tier_, objects_[0], &bytes), absl::OkStatus());
  EXPECT_NE(bytes, objects_[0].bytes);
  EXPECT_EQ(tier_->Verify(objects_[0].key()).code(), absl::StatusCode::kDataLoss);
}

TEST_F(DiskCorruptionTest, AShortPiece) {
  PutPiece({1, 4}, std::string(999, 'x'));
  ExpectOnlyTheFirstIsDamaged();
}

TEST_F(DiskCorruptionTest, AMissingPiece) {
  const RocksDb& rocks = tier_->rocks();
  ASSERT_TRUE(
      rocks.db()->Delete(rocksdb::WriteOptions(), rocks.pieces(), PieceKey{1, 3}.Encode()).ok());
  const absl::Status status = CheckReadBack(*tier_, objects_[0]);
  EXPECT_THAT(std::string(status.message()), HasSubstr("incomplete"));
  EXPECT_EQ(tier_->Verify(objects_[0].key()).code(), absl::StatusCode::kDataLoss);
  ExpectTheOthersAreWhole();
}

// A damaged header is found by a read, dropped by a scan, and its payload is garbage from then on.
TEST_F(DiskCorruptionTest, AnUnreadableHeaderIsDroppedAndCounted) {
  const std::string key = EncodeRecordKey(objects_[0].key()), header = Header(objects_[0]);
  for (const std::string& damaged :
       {header.substr(0, 100), std::string(), header + "x", Header(objects_[1])}) {
    PutHeader(key, damaged);
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kDataLoss);
  }
  std::vector<base::Key> seen;
  ASSERT_EQ(tier_->ForEachRecord([&](base::ObjectHeader found) { seen.push_back(found.content); }),
            absl::OkStatus());
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_EQ(tier_->Stats().dropped_headers, 1u);
  EXPECT_EQ(tier_->Stats().records, 2u);
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kNotFound);
  ExpectTheOthersAreWhole();
}

TEST_F(DiskCorruptionTest, UnreadableHeadersAreDroppedAtTheStart) {
  PutHeader(EncodeRecordKey(objects_[0].key()), "nonsense");
  PutHeader("a key of another length", Header(objects_[1]));
  Open();
  EXPECT_EQ(tier_->Stats().dropped_headers, 2u);
  EXPECT_EQ(tier_->Stats().records, 2u);
  ExpectTheOthersAreWhole();
  Open();
  EXPECT_EQ(tier_->Stats().dropped_headers, 0u);  // they are gone for good
  ASSERT_EQ(WriteOne(*tier_, objects_[0]), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
}

// A flipped byte in the log costs the records after it that were in the same write at most.
TEST_F(DiskCorruptionTest, AFlippedByteInTheLog) {
  tier_.reset();
  fs::path log;
  for (const auto& entry : fs::directory_iterator(options_.disk.path + "/rocksdb")) {
    if (entry.path().extension() == ".log" && (log.empty() || entry.path() > log))
      log = entry.path();
  }
  ASSERT_GT(fs::file_size(log), 1000u);  // three headers of about 700 bytes
  FlipByte(log, fs::file_size(log) / 2);
  Open();
  EXPECT_LT(tier_->Stats().records, 3u);
  EXPECT_GE(tier_->Stats().records, 1u);
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());  // written before the damage
  for (const TestObject& object : objects_) ASSERT_EQ(WriteOne(*tier_, object), absl::OkStatus());
  for (const TestObject& object : objects_)
    EXPECT_EQ(CheckReadBack(*tier_, object), absl::OkStatus());
}

TEST_F(DiskCorruptionTest, ATruncatedLog) {
  tier_.reset();
  for (const auto& entry : fs::directory_iterator(options_.disk.path + "/rocksdb")) {
    if (entry.path().extension() == ".log" && fs::file_size(entry.path()) > 1000)
      fs::resize_file(entry.path(), fs::file_size(entry.path()) - 100);
  }
  Open();
  EXPECT_EQ(tier_->Stats().records, 2u);
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, objects_[1]), absl::OkStatus());
}

TEST_F(DiskCorruptionTest, AModelThatIsDeletedStaysSo) {
  base::ModelSpec spec;
  spec.name = "model";
  spec.num_layers = 1;
  spec.layout = base::RowLayout::kOpaque;
  spec.row_bytes = 32;
  ASSERT_EQ(tier_->PutModel(spec), absl::OkStatus());
  const auto count = [&] {
    int models = 0;
    EXPECT_EQ(tier_->ForEachModel([&](const base::ModelSpec&) { ++models; }), absl::OkStatus());
    return models;
  };
  EXPECT_EQ(count(), 1);
  ASSERT_EQ(tier_->DeleteModel(spec.Fingerprint()), absl::OkStatus());
  EXPECT_EQ(tier_->DeleteModel(spec.Fingerprint()), absl::OkStatus()) << "again is no error";
  Open();
  EXPECT_EQ(count(), 0);
}

TEST_F(DiskCorruptionTest, AnUnreadableModelIsPassedOver) {
  const RocksDb& rocks = tier_->rocks();
  ASSERT_TRUE(
      rocks.db()->Put(rocksdb::WriteOptions(), rocks.meta(), "model/zzz", "{not json").ok());
  int models = 0;
  EXPECT_EQ(tier_->ForEachModel([&](const base::ModelSpec&) { ++models; }), absl::OkStatus());
  EXPECT_EQ(models, 0);
  EXPECT_EQ(tier_->Stats().dropped_headers, 1u);
}

}  // namespace
}  // namespace cistern::storage
