// Damage in files of header records: the tier opens, keeps every record whose own bytes are whole,
// and counts the others.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

#include "storage/tier/header_salvage.h"
#include "storage/tier/record.h"
#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

namespace fs = std::filesystem;

// What has been salvaged can be read, or put aside, only once the disk works again.
class SalvageFaults final : public rocksdb::FileSystemWrapper {
 public:
  SalvageFaults() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "salvage faults"; }
  rocksdb::IOStatus NewRandomAccessFile(const std::string& name,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* debug) override {
    if (refuse_reads && absl::EndsWith(name, "/salvaged.sst"))
      return rocksdb::IOStatus::IOError("Input/output error");
    return target()->NewRandomAccessFile(name, options, result, debug);
  }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    if (refuse_writes && absl::EndsWith(name, "/salvaged.sst"))
      return rocksdb::IOStatus::IOError("Input/output error");
    return target()->NewWritableFile(name, options, result, debug);
  }

  std::atomic<bool> refuse_reads{false}, refuse_writes{false};
};

class DiskSalvageTest : public DiskTest {
 protected:
  static constexpr uint64_t kObjects = 400;

  void SetUp() override {
    Open();
    objects_.reserve(kObjects);
    for (uint64_t i = 0; i < kObjects; ++i) {
      objects_.push_back(Segment(i + 10, 100));
      objects_.back().header.content = base::HashBytes(std::to_string(i));
    }
    WriteAll();
  }
  void WriteAll() {
    std::vector<DiskTier::Item> items;
    items.reserve(objects_.size());
    for (const TestObject& object : objects_) items.push_back(object.Item());
    for (const absl::Status& status : tier_->Write(items)) ASSERT_EQ(status, absl::OkStatus());
  }

  // Puts the headers into a file and closes the tier; the newest such file.
  fs::path FlushAndClose() {
    const RocksDb& rocks = tier_->rocks();
    EXPECT_TRUE(rocks.db()->Flush(rocksdb::FlushOptions(), rocks.headers()).ok());
    rocksdb::ColumnFamilyMetaData meta;
    rocks.db()->GetColumnFamilyMetaData(rocks.headers(), &meta);
    const auto& file = meta.levels.at(0).files.at(0);
    const fs::path path = file.db_path + file.name;
    tier_.reset();
    return path;
  }
  // Where the value of `object`'s header lies in `path`.
  static uint64_t HeaderOffset(const fs::path& path, const TestObject& object) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    const base::Key content = object.header.content;  // a hash: nowhere else
    const std::string key(reinterpret_cast<const char*>(&content.hi), 8);
    const size_t at = bytes.find(key);  // little endian: only in the value
    EXPECT_NE(at, std::string::npos);
    return at;
  }
  uint64_t Readable() {
    uint64_t count = 0;
    for (const TestObject& object : objects_) {
      const absl::Status status = CheckReadBack(*tier_, object);
      EXPECT_TRUE(status.ok() || absl::IsNotFound(status)) << status;
      count += status.ok();
    }
    return count;
  }
  // After a salvage the database is whole: nothing is found damaged again, and it takes writes.
  void ExpectHealed(uint64_t records) {
    EXPECT_EQ(tier_->Stats().records, records);
    Open();
    EXPECT_EQ(tier_->Stats().salvaged_headers, 0u);
    EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
    EXPECT_EQ(tier_->Stats().records, records);
    EXPECT_EQ(Readable(), records);
    WriteAll();
    Open();
    EXPECT_EQ(Readable(), objects_.size());
  }

  std::vector<TestObject> objects_;
};

TEST_F(DiskSalvageTest, AFlippedByteInABlockCostsTheRecordThatItLiesIn) {
  const fs::path file = FlushAndClose();
  for (const size_t i : {3, 77, 250}) FlipByte(file, HeaderOffset(file, objects_[i]) + 1);
  Open();
  EXPECT_EQ(tier_->Stats().dropped_headers, 3u);
  EXPECT_EQ(tier_->Stats().salvaged_headers, kObjects - 3);
  EXPECT_EQ(Readable(), kObjects - 3);
  for (const size_t i : {3, 77, 250})
    EXPECT_EQ(CheckReadBack(*tier_, objects_[i]).code(), absl::StatusCode::kNotFound);
  ExpectHealed(kObjects - 3);
}

// Index, properties and footer: the records before them are whole.
TEST_F(DiskSalvageTest, AFileWithoutItsTailGivesAllThatIsLeft) {
  const fs::path file = FlushAndClose();
  fs::resize_file(file, fs::file_size(file) - 40);
  Open();
  EXPECT_EQ(tier_->Stats().salvaged_headers, kObjects);
  ExpectHealed(kObjects);
}

TEST_F(DiskSalvageTest, HalfAFileGivesHalfOfItsRecords) {
  const fs::path file = FlushAndClose();
  fs::resize_file(file, fs::file_size(file) / 2);
  Open();
  const uint64_t kept = tier_->Stats().records;
  EXPECT_GT(kept, kObjects * 4 / 10);
  EXPECT_LT(kept, kObjects * 6 / 10);
  EXPECT_EQ(Readable(), kept);
  EXPECT_GE(tier_->Stats().dropped_headers, 1u);
  ExpectHealed(kept);
}

TEST_F(DiskSalvageTest, AFileOfZerosGivesNothingAndTheTierStarts) {
  const fs::path file = FlushAndClose();
  const uint64_t size = fs::file_size(file);
  std::ofstream(file, std::ios::binary | std::ios::trunc) << std::string(size, '\0');
  Open();
  EXPECT_EQ(tier_->Stats().salvaged_headers, 0u);
  EXPECT_GE(tier_->Stats().dropped_headers, 1u);
  ExpectHealed(0);
}

// What the database can still tell is believed: deleted stays deleted, and the newest write counts.
TEST_F(DiskSalvageTest, DeletedAndReplacedRecordsStaySo) {
  const fs::path file = FlushAndClose();
  Open();
  ASSERT_EQ(tier_->Delete({objects_[5].key(), objects_[6].key()}), absl::OkStatus());
  objects_[7].bytes = PatternBytes(99, 100);
  ASSERT_EQ(WriteOne(*tier_, objects_[7]), absl::OkStatus());
  tier_.reset();
  FlipByte(file, HeaderOffset(file, objects_[300]) + 1);
  Open();
  EXPECT_EQ(tier_->Stats().salvaged_headers, kObjects - 3);
  EXPECT_EQ(CheckReadBack(*tier_, objects_[5]).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CheckReadBack(*tier_, objects_[6]).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CheckReadBack(*tier_, objects_[7]), absl::OkStatus());
  ExpectHealed(kObjects - 3);
}

// A kill after salvaged.sst was complete: headers gone, or back already. The next open finishes.
TEST_F(DiskSalvageTest, AnInterruptedSalvageIsFinishedByTheNextOpen) {
  const fs::path file = FlushAndClose();
  FlipByte(file, HeaderOffset(file, objects_[3]) + 1);
  Open();  // salvaged; what it wrote is now the one file of headers
  ASSERT_EQ(tier_->Stats().records, kObjects - 1);
  rocksdb::ColumnFamilyMetaData meta;
  tier_->rocks().db()->GetColumnFamilyMetaData(tier_->rocks().headers(), &meta);
  fs::path whole;
  for (const auto& level : meta.levels) {
    for (const auto& in_level : level.files) whole = in_level.db_path + in_level.name;
  }
  const fs::path saved = options_.disk.path + "/salvaged.sst";
  fs::copy_file(whole, saved);
  Open();  // killed before the file was removed: done again, with the same end
  EXPECT_FALSE(fs::exists(saved));
  EXPECT_EQ(Readable(), kObjects - 1);
  std::ofstream(saved) << "cut off";
  tier_.reset();
  const absl::Status refused = RocksTier::Open(options_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
  EXPECT_NE(refused.message().find("move the directory away"), absl::string_view::npos);
}

// The headers are empty by then: who took them for all there are would give all payload back.
TEST_F(DiskSalvageTest, ASalvageThatFailsHalfWayIsFinishedBeforeHeadersAreReadAgain) {
  const fs::path file = FlushAndClose();
  FlipByte(file, HeaderOffset(file, objects_[3]) + 1);
  auto faults = std::make_shared<SalvageFaults>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(faults);
  options_.env = env.get();
  options_.disk.load_later = true;
  Open();
  const std::atomic<bool> never{false};
  const auto load = [&] {
    return tier_->Load(never, [](const std::vector<base::ObjectHeader>&) {});
  };
  // Before the headers are touched: nothing has happened.
  faults->refuse_writes = true;
  EXPECT_EQ(load().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(fs::exists(options_.disk.path + "/salvaged.sst"));
  faults->refuse_writes = false;
  const TestObject fresh = Segment(9000, 100);
  EXPECT_EQ(WriteOne(*tier_, fresh), absl::OkStatus());

  faults->refuse_reads = true;
  for (const bool again : {false, true}) {
    EXPECT_EQ(load().code(), absl::StatusCode::kUnavailable) << again;
    EXPECT_EQ(WriteOne(*tier_, Segment(9001, 100)).code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(tier_->Delete({objects_[5].key()}).code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(tier_->Verify(fresh.key()).code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(CheckReadBack(*tier_, fresh), absl::OkStatus());  // needs no header
  }
  faults->refuse_reads = false;
  EXPECT_EQ(load(), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, fresh), absl::OkStatus());
  EXPECT_EQ(Readable(), kObjects - 1);
  options_.disk.load_later = false;
  Open();
  EXPECT_EQ(Readable(), kObjects - 1);
  EXPECT_EQ(CheckReadBack(*tier_, fresh), absl::OkStatus());
  tier_.reset();  // before the environment
}

// Nobody waits for what will not come: the object above may go instead.
TEST_F(DiskSalvageTest, ABoundIsABoundOnceHeadersAreGivenUp) {
  const fs::path file = FlushAndClose();
  FlipByte(file, HeaderOffset(file, objects_[3]) + 1);
  auto faults = std::make_shared<SalvageFaults>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(faults);
  options_.env = env.get();
  options_.disk.load_later = true;
  options_.disk.max_bytes = 1;
  Open();
  const std::atomic<bool> never{false};
  const auto load = [&] {
    return tier_->Load(never, [](const std::vector<base::ObjectHeader>&) {}).code();
  };
  faults->refuse_reads = true;
  EXPECT_EQ(load(), absl::StatusCode::kUnavailable);
  const TestObject fresh = Segment(9000, 100);
  EXPECT_EQ(WriteOne(*tier_, fresh).code(), absl::StatusCode::kDeadlineExceeded);
  std::ofstream(options_.disk.path + "/salvaged.sst") << "cut off";
  faults->refuse_reads = false;
  EXPECT_EQ(load(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(WriteOne(*tier_, fresh).code(), absl::StatusCode::kResourceExhausted);
  tier_.reset();  // before the environment
}

}  // namespace
}  // namespace cistern::storage
