// The disk tier as a store of objects: what is written is read, replaced, deleted, bounded, and
// there after a restart.
#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"

#include "base/model_spec.h"
#include "storage/tier/aligned_buffer.h"
#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kPiece = 2 << 20;

base::ModelSpec Model(const std::string& name) {
  base::ModelSpec spec;
  spec.name = name;
  spec.revision = "r1";
  spec.num_layers = 27;
  return spec;
}

// Every object's header, by content key.
std::map<base::Key, base::ObjectHeader> Headers(DiskTier& tier) {
  std::map<base::Key, base::ObjectHeader> out;
  EXPECT_TRUE(tier.ForEachRecord(
                      [&](base::ObjectHeader header) { out[header.content] = std::move(header); })
                  .ok());
  return out;
}

class DiskTierTest : public DiskTest {};

// Sizes around every edge that the code has: one byte, sectors, pieces, many pieces.
TEST_F(DiskTierTest, RoundTripsAllSizesAndKinds) {
  RocksTier& tier = Open();
  std::vector<TestObject> objects;
  for (uint64_t bytes : {uint64_t{1}, uint64_t{511}, uint64_t{4096}, uint64_t{65536 + 7},
                         kPiece - 1, kPiece, kPiece + 1, 3 * kPiece + 12345, uint64_t{64} << 20}) {
    objects.push_back(Segment(objects.size() + 1, bytes));
    objects.push_back(Blob(objects.size() + 1, bytes));
  }
  for (const TestObject& object : objects) ASSERT_EQ(WriteOne(tier, object), absl::OkStatus());
  for (const TestObject& object : objects) {
    EXPECT_EQ(CheckReadBack(tier, object), absl::OkStatus()) << object.bytes.size();
    EXPECT_EQ(tier.Verify(object.key()), absl::OkStatus());
  }
  const auto headers = Headers(tier);
  ASSERT_EQ(headers.size(), objects.size());
  for (const TestObject& object : objects)
    EXPECT_EQ(headers.at(object.header.content), object.header);
}

// Payload lies in blocks of any size, and a block need not end where a piece does, on either side.
TEST_F(DiskTierTest, PayloadMayLieInRunsOfAnySize) {
  RocksTier& tier = Open();
  TestObject object = Segment(1, 5 * kPiece + 99);
  object.runs = {1, 0, 497664, 497664, kPiece, 2 * kPiece + 5, 7, 0};
  ASSERT_EQ(WriteOne(tier, object), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, object), absl::OkStatus());
  object.runs = {3 * kPiece, 100000, 1};
  EXPECT_EQ(CheckReadBack(tier, object), absl::OkStatus());
  object.runs = {};
  EXPECT_EQ(CheckReadBack(tier, object), absl::OkStatus());
}

TEST_F(DiskTierTest, ABatchOfManyIsOneCommitWithAStatusEach) {
  RocksTier& tier = Open();
  std::vector<TestObject> objects;
  std::vector<DiskTier::Item> items;
  for (uint64_t i = 0; i < 50; ++i) objects.push_back(Segment(i + 1, 1000 + i * 7919));
  for (const TestObject& object : objects) items.push_back(object.Item());
  items[10].payload.clear();      // no payload
  items[20].header.content = {};  // no key
  const std::vector<absl::Status> statuses = tier.Write(items);
  ASSERT_EQ(statuses.size(), 50u);
  for (size_t i = 0; i < statuses.size(); ++i) {
    const auto code =
        i == 10 || i == 20 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kOk;
    EXPECT_EQ(statuses[i].code(), code) << i;
    const absl::Status read = CheckReadBack(tier, objects[i]);
    EXPECT_EQ(read.code(), i == 10 || i == 20 ? absl::StatusCode::kNotFound : absl::StatusCode::kOk)
        << i;
  }
  EXPECT_EQ(tier.Stats().records, 48u);
  EXPECT_EQ(tier.Stats().writes, 48u);
  EXPECT_EQ(tier.Stats().write_failures, 2u);
  EXPECT_TRUE(tier.Write({}).empty());
}

TEST_F(DiskTierTest, UnknownKeysAreNotFoundAndNotCountedAsFailures) {
  RocksTier& tier = Open();
  EXPECT_EQ(CheckReadBack(tier, Segment(1, 10)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(tier.Verify(Segment(1, 10).key()).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(tier.Delete({Segment(1, 10).key()}), absl::OkStatus());
  EXPECT_EQ(tier.Stats().read_failures, 0u);
  EXPECT_EQ(tier.Stats().deletes, 0u);
}

// Another size than the record's is a record that is not what the reader thinks: it gets nothing.
TEST_F(DiskTierTest, AReadOfAnotherSizeIsDataLoss) {
  RocksTier& tier = Open();
  ASSERT_EQ(WriteOne(tier, Segment(1, 5000)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, Segment(1, 4999)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckReadBack(tier, Segment(1, 5001)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckReadBack(tier, Segment(1, 5000)), absl::OkStatus());
  EXPECT_EQ(tier.Stats().read_failures, 2u);
}

TEST_F(DiskTierTest, AWriteOfTheSameKeyReplaces) {
  RocksTier& tier = Open();
  TestObject object = Segment(1, 3 * kPiece);
  ASSERT_EQ(WriteOne(tier, object), absl::OkStatus());
  object.bytes = PatternBytes(99, 700);
  object.header.lineage = base::Lineage::kExact;
  ASSERT_EQ(WriteOne(tier, object), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, object), absl::OkStatus());
  EXPECT_EQ(tier.Stats().records, 1u);
  EXPECT_EQ(tier.Stats().payload_bytes, 700u);
  EXPECT_EQ(Headers(tier).at(object.header.content), object.header);

  TestObject later = object;  // twice in one batch: the later one
  later.bytes = PatternBytes(100, 800);
  for (const absl::Status& status : tier.Write({object.Item(), later.Item()}))
    EXPECT_EQ(status, absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, later), absl::OkStatus());
  EXPECT_EQ(tier.Stats().payload_bytes, 800u);
  EXPECT_EQ(CheckReadBack(Open(), later), absl::OkStatus());
}

TEST_F(DiskTierTest, DeletedIsGoneAlsoAfterAReopen) {
  Open();
  const TestObject kept = Segment(1, 3000), gone = Blob(2, kPiece + 5);
  ASSERT_EQ(WriteOne(*tier_, kept), absl::OkStatus());
  ASSERT_EQ(WriteOne(*tier_, gone), absl::OkStatus());
  ASSERT_EQ(tier_->Delete({gone.key(), gone.key()}), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().deletes, 1u);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(CheckReadBack(*tier_, gone).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(CheckReadBack(*tier_, kept), absl::OkStatus());
    EXPECT_EQ(Headers(*tier_).size(), 1u);
    EXPECT_EQ(tier_->Stats().payload_bytes, 3000u);
    Open();
  }
  ASSERT_EQ(WriteOne(*tier_, gone), absl::OkStatus());  // and may come back
  EXPECT_EQ(CheckReadBack(*tier_, gone), absl::OkStatus());
}

TEST_F(DiskTierTest, EverythingIsThereAfterAReopenAndWritesGoOn) {
  std::vector<TestObject> objects;
  for (int round = 0; round < 4; ++round) {
    RocksTier& tier = Open();
    EXPECT_EQ(tier.Stats().records, objects.size());
    EXPECT_EQ(Headers(tier).size(), objects.size());
    for (const TestObject& object : objects)
      EXPECT_EQ(CheckReadBack(tier, object), absl::OkStatus());
    for (int i = 0; i < 3; ++i) {
      objects.push_back(Segment(objects.size() + 1, 1 + objects.size() * 300001));
      ASSERT_EQ(WriteOne(tier, objects.back()), absl::OkStatus());
    }
  }
}

TEST_F(DiskTierTest, KeepsModels) {
  Open();
  ASSERT_EQ(tier_->PutModel(Model("a")), absl::OkStatus());
  ASSERT_EQ(tier_->PutModel(Model("a")), absl::OkStatus());
  ASSERT_EQ(tier_->PutModel(Model("b")), absl::OkStatus());
  EXPECT_EQ(tier_->PutModel(base::ModelSpec{}).code(), absl::StatusCode::kInvalidArgument);
  Open();
  std::vector<std::string> names;
  ASSERT_EQ(tier_->ForEachModel([&](const base::ModelSpec& spec) {
    EXPECT_EQ(spec, Model(spec.name));
    names.push_back(spec.name);
  }),
            absl::OkStatus());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b"}));
}

// The bound is on payload: what does not fit is told so, what is deleted or replaced makes room.
TEST_F(DiskTierTest, MaxBytesBoundsThePayload) {
  options_.disk.max_bytes = 10000;
  RocksTier& tier = Open();
  ASSERT_EQ(WriteOne(tier, Segment(1, 6000)), absl::OkStatus());
  const std::vector<absl::Status> statuses =
      tier.Write({Segment(2, 3000).Item(), Segment(3, 3000).Item(), Segment(4, 1000).Item()});
  EXPECT_EQ(statuses[0], absl::OkStatus());
  EXPECT_EQ(statuses[1].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(statuses[1].message()), HasSubstr("raise the bound, or evict"));
  EXPECT_EQ(statuses[2], absl::OkStatus());
  EXPECT_EQ(tier.Stats().payload_bytes, 10000u);

  TestObject smaller = Segment(1, 6000);  // in place of 6000: fits
  smaller.bytes = PatternBytes(5, 5500);
  EXPECT_EQ(WriteOne(tier, smaller), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, smaller), absl::OkStatus());
  ASSERT_EQ(tier.Delete({Segment(2, 3000).key()}), absl::OkStatus());
  EXPECT_EQ(WriteOne(tier, Segment(3, 3000)), absl::OkStatus());
  EXPECT_EQ(WriteOne(tier, Segment(5, 501)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(tier.Stats().write_failures, 2u);
}

TEST_F(DiskTierTest, WorksWithoutDirectIo) {
  options_.disk.direct_io = false;
  RocksTier& tier = Open();
  EXPECT_FALSE(tier.rocks().direct_io());
  ASSERT_EQ(WriteOne(tier, Segment(1, 3 * kPiece + 1)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, Segment(1, 3 * kPiece + 1)), absl::OkStatus());
  options_.disk.direct_io = true;  // the same files, the other way
  EXPECT_EQ(CheckReadBack(Open(), Segment(1, 3 * kPiece + 1)), absl::OkStatus());
}

// Aligned memory goes to the disk as it lies, in as many runs as there are; other memory is copied.
// Either way the same bytes lie there, with the same checksums, and come back into either.
TEST_F(DiskTierTest, AlignedAndUnalignedMemoryGiveTheSameRecord) {
  RocksTier& tier = Open();
  const uint64_t bytes = 3 * kPiece;
  const std::vector<std::byte> pattern = PatternBytes(5, bytes);
  AlignedBuffer buffer(bytes + 4096);
  std::vector<DiskRecord> records;
  for (const uint64_t shift : {0, 512, 4096, 1, 16}) {
    const std::span<std::byte> memory = buffer.bytes().subspan(shift, bytes);
    for (const std::vector<uint64_t>& cuts :
         {std::vector<uint64_t>{},
          {kPiece / 2, 2 * kPiece + 4096},
          {512, 1000000},
          {kPiece / 2, kPiece / 2 + 777}}) {  // the last one: some of a piece is aligned
      std::copy(pattern.begin(), pattern.end(), memory.begin());
      std::vector<std::span<std::byte>> runs;
      std::vector<std::span<const std::byte>> const_runs;
      uint64_t at = 0;
      for (const uint64_t cut : cuts) {
        runs.push_back(memory.subspan(at, cut - at));
        at = cut;
      }
      runs.push_back(memory.subspan(at));
      const_runs.assign(runs.begin(), runs.end());
      const TestObject object = Segment(1, 0);
      ASSERT_EQ(tier.Write({{.header = object.header, .payload = const_runs}})[0],
                absl::OkStatus());
      std::fill(memory.begin(), memory.end(), std::byte{0xee});
      ASSERT_EQ(tier.Read(object.key(), runs), absl::OkStatus());
      EXPECT_TRUE(std::equal(pattern.begin(), pattern.end(), memory.begin()));
      EXPECT_EQ(tier.Verify(object.key()), absl::OkStatus());
      records.push_back(Record(object));
    }
  }
  for (const DiskRecord& record : records)
    EXPECT_EQ(record.piece_checksums, records[0].piece_checksums);
}

// Extents lie on pages and never overlap, whatever is written, replaced and opened again.
TEST_F(DiskTierTest, ExtentsNeverOverlap) {
  options_.log.file_bytes = 1 << 20;
  Open();
  for (int round = 0; round < 3; ++round) {
    for (uint64_t i = 1; i <= 12; ++i)
      ASSERT_EQ(WriteOne(*tier_, Segment(i % 5 + 1, 70000 * i)), absl::OkStatus());
    std::vector<std::tuple<uint32_t, uint64_t, uint64_t>> extents;
    for (uint64_t i = 1; i <= 5; ++i) {
      const Extent extent = Record(Segment(i, 1)).extent;
      EXPECT_EQ(extent.offset % 4096, 0u);
      extents.emplace_back(extent.file, extent.offset, extent.end());
    }
    std::sort(extents.begin(), extents.end());
    for (size_t i = 1; i < extents.size(); ++i) {
      const auto& [file, begin, end] = extents[i];
      const auto& [file_before, begin_before, end_before] = extents[i - 1];
      EXPECT_TRUE(file != file_before || end_before <= begin);
    }
    Open();
    EXPECT_EQ(tier_->Stats().records, 5u);
  }
}

// Payload goes to the disk about once, whatever is replaced and deleted.
TEST_F(DiskTierTest, PayloadIsWrittenOnce) {
  class Counting final : public DiskCalls {
   public:
    ssize_t Write(int fd, const iovec* parts, int count, uint64_t offset) override {
      const ssize_t done = DiskCalls::Write(fd, parts, count, offset);
      if (done > 0) bytes_ += static_cast<uint64_t>(done);
      return done;
    }
    uint64_t bytes() const { return bytes_; }

   private:
    std::atomic<uint64_t> bytes_{0};
  } calls;
  options_.log.calls = &calls;
  options_.log.file_bytes = 8 << 20;
  Open();
  uint64_t payload = 0;
  for (uint64_t i = 1; i <= 40; ++i) {
    const TestObject object = Segment(i % 7 + 1, 100000 * i);
    ASSERT_EQ(WriteOne(*tier_, object), absl::OkStatus());
    payload += object.bytes.size();
    if (i % 5 == 0) {
      ASSERT_EQ(tier_->Delete({object.key()}), absl::OkStatus());
    }
    if (i % 10 == 0) {
      ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
    }
  }
  EXPECT_GE(calls.bytes(), payload);
  EXPECT_LE(calls.bytes(), payload + payload / 100);
  tier_.reset();  // before `calls`
}

}  // namespace
}  // namespace cistern::storage
