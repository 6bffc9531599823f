// Damage on disk: every kind of it is found before a byte is used, counted, and costs no other
// object.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

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
  // The tier with three objects, each in a file of its own, the first in the first.
  void SetUp() override {
    options_.log.file_bytes = 1;
    Open();
    for (const TestObject& object : objects_) ASSERT_EQ(WriteOne(*tier_, object), absl::OkStatus());
    ASSERT_EQ(PayloadFiles().size(), 3u);
  }

  // The start has found it: it is counted, dropped for good, and can be written again.
  void ExpectOnlyTheFirstIsDropped() {
    EXPECT_EQ(tier_->Stats().dropped_headers, 1u);
    EXPECT_EQ(tier_->Stats().records, 2u);
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kNotFound);
    ExpectTheOthersAreWhole();
    Open();
    EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
    ASSERT_EQ(WriteOne(*tier_, objects_[0]), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
    ExpectTheOthersAreWhole();
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
  void OverwriteSecondPiece() {
    std::fstream file(PayloadFiles()[0], std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(kPiece));
    file << std::string(kPiece, 'x');
    file.flush();
    ASSERT_TRUE(file.good());
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
  FlipByte(PayloadFiles()[0], kPiece + 12345);
  Open();
  ExpectOnlyTheFirstIsDamaged();
}

TEST_F(DiskCorruptionTest, AFlippedByteInAnyPieceFirstOrLast) {
  for (const uint64_t offset : {uint64_t{0}, kPiece - 1, kPiece, 3 * kPiece + 999}) {
    SCOPED_TRACE(offset);
    tier_.reset();
    FlipByte(PayloadFiles()[0], offset);
    Open();
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kDataLoss);
    ExpectTheOthersAreWhole();
    tier_.reset();
    FlipByte(PayloadFiles()[0], offset);
    Open();
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
  }
}

// Between the end of a payload and the next extent lies nothing of meaning.
TEST_F(DiskCorruptionTest, AFlippedByteBehindAPayloadHarmsNobody) {
  tier_.reset();
  FlipByte(PayloadFiles()[0], 3 * kPiece + 1000);
  Open();
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
  ExpectTheOthersAreWhole();
}

// Damaged payload does not stop the room of others from coming back, and goes like any other.
TEST_F(DiskCorruptionTest, DamageDoesNotStopTheReclaimer) {
  ASSERT_EQ(tier_->Delete({objects_[2].key()}), absl::OkStatus());
  tier_.reset();
  FlipByte(PayloadFiles()[0], kPiece + 12345);
  Open();
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(WriteOne(*tier_, Segment(10 + i, 100000)), absl::OkStatus());
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]).code(), absl::StatusCode::kDataLoss);
  ASSERT_EQ(tier_->Delete({objects_[0].key()}), absl::OkStatus());
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_LT(tier_->Stats().file_bytes, kPiece + 500000);
  EXPECT_EQ(tier_->Stats().reclaim_failures, 0u);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(CheckReadBack(*tier_, Segment(10 + i, 100000)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, objects_[1]), absl::OkStatus());
}

TEST_F(DiskCorruptionTest, ATruncatedFile) {
  tier_.reset();
  fs::resize_file(PayloadFiles()[0], kPiece);
  Open();
  ExpectOnlyTheFirstIsDropped();
}

TEST_F(DiskCorruptionTest, AFileThatIsCutByASector) {
  tier_.reset();
  fs::resize_file(PayloadFiles()[0], 3 * kPiece + 512);
  Open();
  ExpectOnlyTheFirstIsDropped();
}

TEST_F(DiskCorruptionTest, AMissingFile) {
  tier_.reset();
  fs::remove(PayloadFiles()[0]);
  Open();
  ExpectOnlyTheFirstIsDropped();
}

// Under a running tier nobody looks for headers to drop: reads say what is wrong with the payload,
// and Verify also what is wrong with the header.
TEST_F(DiskCorruptionTest, AFileThatIsTruncatedUnderATier) {
  fs::resize_file(PayloadFiles()[0], kPiece);
  ExpectOnlyTheFirstIsDamaged();
}

TEST_F(DiskCorruptionTest, AFileThatIsMissingUnderATier) {
  DiskRecord record = Record(objects_[0]);
  record.extent.file = 99;
  PutRecord(objects_[0], record);
  const absl::Status status = tier_->Verify(objects_[0].key());
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("incomplete"));
  ExpectTheOthersAreWhole();
}

// A hole where payload should be: bytes that were given back, or never came to the disk.
TEST_F(DiskCorruptionTest, AHoleInAPayloadIsFoundAtTheStart) {
  tier_.reset();
  const int fd = open(PayloadFiles()[0].c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPiece, 4096), 0);
  close(fd);
  options_.disk.verify_checksums = false;  // it is not a reader's checksum that finds it
  Open();
  ExpectOnlyTheFirstIsDropped();
}

// A file system that keeps zeros as holes: the checksums say that all is well.
TEST_F(DiskCorruptionTest, AHoleThatStandsForZerosIsNoDamage) {
  TestObject zeros = Segment(9, 2 * kPiece);
  zeros.bytes.assign(zeros.bytes.size(), std::byte{0});
  ASSERT_EQ(WriteOne(*tier_, zeros), absl::OkStatus());
  tier_.reset();
  const int fd = open(PayloadFiles()[3].c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPiece), 0);
  close(fd);
  Open();
  EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
  EXPECT_EQ(CheckReadBack(*tier_, zeros), absl::OkStatus());
}

// Whole pages of other bytes, as a disk that mixes up its blocks gives them.
TEST_F(DiskCorruptionTest, OtherBytesInPlaceOfAPiece) {
  OverwriteSecondPiece();
  ExpectOnlyTheFirstIsDamaged();
}

TEST_F(DiskCorruptionTest, WithoutVerificationOnlyVerifyLooks) {
  options_.disk.verify_checksums = false;
  Open();
  OverwriteSecondPiece();
  std::vector<std::byte> bytes;
  EXPECT_EQ(ReadBack(*tier_, objects_[0], &bytes), absl::OkStatus());
  EXPECT_NE(bytes, objects_[0].bytes);
  EXPECT_EQ(tier_->Verify(objects_[0].key()).code(), absl::StatusCode::kDataLoss);
}

// ---- Headers that are whole, but name an extent that is not theirs.

TEST_F(DiskCorruptionTest, AnExtentBeyondItsFileIsDropped) {
  const auto beyond = [](const Extent& good) {
    return std::vector<Extent>{{good.file, 4096, good.payload_bytes},
                               {good.file, uint64_t{1} << 43, good.payload_bytes},
                               {99, 0, good.payload_bytes}};
  };
  for (size_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    DiskRecord bad = Record(objects_[0]);
    bad.extent = beyond(bad.extent)[i];
    PutRecord(objects_[0], bad);
    EXPECT_EQ(tier_->Verify(objects_[0].key()).code(), absl::StatusCode::kDataLoss);
    ExpectTheOthersAreWhole();
    Open();
    ExpectOnlyTheFirstIsDropped();
  }
}

// Whichever of two that overlap has the right bytes stays; the other is never served, with or
// without verification.
TEST_F(DiskCorruptionTest, OfTwoExtentsThatOverlapTheDamagedOneIsDropped) {
  options_.disk.verify_checksums = false;
  for (const uint64_t offset : {uint64_t{0}, uint64_t{4096}, 2 * kPiece}) {
    SCOPED_TRACE(offset);
    DiskRecord record = Record(objects_[1]);
    const Extent good = record.extent;
    record.extent = {.file = Record(objects_[0]).extent.file,
                     .offset = offset,
                     .payload_bytes = good.payload_bytes};
    record.id += 1000;
    PutRecord(objects_[1], record);
    Open();
    EXPECT_EQ(tier_->Stats().dropped_headers, 1u);
    EXPECT_EQ(CheckReadBack(*tier_, objects_[1]).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, objects_[2]), absl::OkStatus());
    ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
    ASSERT_EQ(WriteOne(*tier_, objects_[1]), absl::OkStatus());
  }
}

TEST_F(DiskCorruptionTest, OfTwoExtentsThatOverlapTheLaterMayBeTheRightOne) {
  // The first object's header comes to lie over the start of the second's extent.
  DiskRecord record = Record(objects_[0]);
  record.extent.file = Record(objects_[1]).extent.file;
  record.extent.payload_bytes = 8192;
  record.piece_checksums.resize(1);
  PutRecord(objects_[0], record);
  Open();
  ExpectOnlyTheFirstIsDropped();
}

// A damaged header harms no read, which goes by the index. It is found by Verify, dropped by a
// scan, and its payload is garbage from then on.
TEST_F(DiskCorruptionTest, AnUnreadableHeaderIsDroppedAndCounted) {
  const std::string key = EncodeRecordKey(objects_[0].key()), header = Header(objects_[0]);
  for (const std::string& damaged :
       {header.substr(0, 100), std::string(), header + "x", Header(objects_[1])}) {
    PutHeader(key, damaged);
    EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
    EXPECT_EQ(tier_->Verify(objects_[0].key()).code(), absl::StatusCode::kDataLoss);
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

// A scan that has seen an unreadable header drops it unless it was written anew meanwhile.
TEST_F(DiskCorruptionTest, AHeaderThatIsMendedDuringAScanStays) {
  for (const size_t i : {0, 2}) PutHeader(EncodeRecordKey(objects_[i].key()), "no header");
  int seen = 0;
  ASSERT_EQ(tier_->ForEachRecord([&](const base::ObjectHeader&) {
    ++seen;
    ASSERT_EQ(WriteOne(*tier_, objects_[0]), absl::OkStatus());
    ASSERT_EQ(tier_->Delete({objects_[2].key()}), absl::OkStatus());
  }),
            absl::OkStatus());
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
  EXPECT_EQ(CheckReadBack(*tier_, objects_[0]), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(Open(), objects_[0]), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().records, 2u);
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
