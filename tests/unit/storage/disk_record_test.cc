// The encoding of header records and keys: what goes in comes out, and nothing else is believed.
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/key.h"
#include "storage/tier/record.h"
#include "tests/unit/storage/disk_fixture.h"
#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {
namespace {

using ::testing::HasSubstr;

DiskRecord Record(TestObject object, uint64_t payload_bytes) {
  DiskRecord record{.id = 42,
                    .header = object.header,
                    .extent = {.file = 7, .offset = 12 << 12, .payload_bytes = payload_bytes}};
  for (uint64_t i = 0; i < NumPieces(payload_bytes, record.piece_bytes); ++i)
    record.piece_checksums.push_back({i, ~i});
  return record;
}

absl::StatusOr<DiskRecord> Decode(const std::string& bytes) {
  return DecodeRecord({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
}

// Sets a little-endian number and makes length and checksum right again, so that only the field
// itself can be wrong.
template <typename T>
std::string WithField(std::string bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
  bytes.resize(bytes.size() - kRecordTrailerBytes);
  const base::Key checksum = base::HashBytes(absl::string_view(bytes));
  bytes.append(reinterpret_cast<const char*>(&checksum.hi), 8);
  bytes.append(reinterpret_cast<const char*>(&checksum.lo), 8);
  return bytes;
}

TEST(DiskRecord, RoundTripsSegmentsAndBlobsOfAllSizes) {
  for (uint64_t bytes : {1ull, 4095ull, 2ull << 20, (2ull << 20) + 1, 64ull << 20}) {
    for (const TestObject& object :
         {Segment(bytes, 1, 4096), Segment(7, 1, 1), Blob(bytes, bytes)}) {
      const DiskRecord record = Record(object, bytes);
      const auto decoded = Decode(EncodeRecord(record));
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      EXPECT_EQ(*decoded, record);
    }
  }
}

// Of states, what segments have not: the previous state and the tails.
TEST(DiskRecord, RoundTripsState) {
  const base::ModelSpec spec = TestModel("hybrid", 2, 64);
  const base::ObjectHeader chunk = TestSegment(spec, 1, 3, 40);
  const base::ObjectHeader state = TestCheckpoint(spec, chunk, 33, base::Key{7, 8});
  const base::ObjectHeader log = TestLog(spec, state, 5, 9, base::LogTails::kEveryToken);
  for (const base::ObjectHeader& header : {state, log, TestFirstLog(spec, 6, 9)}) {
    ASSERT_TRUE(header.Validate().ok()) << header.Validate();
    const DiskRecord record = Record({.header = header}, 10'000);
    const std::string bytes = EncodeRecord(record);
    EXPECT_EQ(static_cast<uint8_t>(bytes[32]), static_cast<uint8_t>(header.kind));
    EXPECT_EQ(std::memcmp(bytes.data() + 112, &header.previous_state.hi, 8), 0);
    EXPECT_EQ(static_cast<uint8_t>(bytes[156]), static_cast<uint8_t>(header.tails));
    const auto decoded = Decode(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, record);
  }
}

TEST(DiskRecord, HasTheLayoutOfTheFormatText) {
  const DiskRecord record = Record(Segment(5, 1, 3), (2 << 20) + 1);
  const std::string bytes = EncodeRecord(record);
  ASSERT_EQ(bytes.size(), 160 + 3 * 4 + 2 * 16 + 16);
  EXPECT_EQ(bytes.substr(0, 4), "CREC");
  const auto at = [&](size_t offset) {
    uint32_t value;
    std::memcpy(&value, bytes.data() + offset, 4);
    return value;
  };
  EXPECT_EQ(at(4), 3u);  // version, reserved
  EXPECT_EQ(at(8), bytes.size());
  EXPECT_EQ(at(12), 2u << 20);
  EXPECT_EQ(at(16), 42u);
  EXPECT_EQ(at(24), (2u << 20) + 1);
  EXPECT_EQ(at(36), record.header.base_position);
  EXPECT_EQ(at(136), 3u);
  EXPECT_EQ(at(140), 2u);
  EXPECT_EQ(at(144), 12u << 12);
  EXPECT_EQ(at(152), 7u);
  EXPECT_EQ(at(156), 0u);
  EXPECT_EQ(at(160), record.header.tokens[0]);
}

TEST(DiskRecord, RefusesEveryTruncationAndExtension) {
  const std::string bytes = EncodeRecord(Record(Segment(1, 1, 5), 3 << 20));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(Decode(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  EXPECT_EQ(Decode(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
}

TEST(DiskRecord, RefusesEveryFlippedBit) {
  const std::string bytes = EncodeRecord(Record(Blob(1, 5000), 5000));
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_EQ(Decode(damaged).status().code(), absl::StatusCode::kDataLoss) << bit;
  }
}

// Behind a right checksum, every field that could lead a reader astray is still checked.
TEST(DiskRecord, RefusesImpossibleFieldsUnderARightChecksum) {
  const std::string segment = EncodeRecord(Record(Segment(1, 1, 5), 3 << 20));
  const struct {
    const char* what;
    std::string bytes;
    const char* says;
  } cases[] = {
      {"version", WithField<uint16_t>(segment, 4, 1), "version 1"},
      {"reserved", WithField<uint16_t>(segment, 6, 1), "reserved"},
      {"length", WithField<uint32_t>(segment, 8, 7), "it says 7"},
      {"piece size 0", WithField<uint32_t>(segment, 12, 0), "pieces of 0"},
      {"piece size huge", WithField<uint32_t>(segment, 12, 0xffffffff), "pieces of"},
      {"piece size in the middle of a page", WithField<uint32_t>(segment, 12, (2 << 20) + 512),
       "pieces of"},
      {"id", WithField<uint64_t>(segment, 16, 0), "write number"},
      {"payload 0", WithField<uint64_t>(segment, 24, 0), "a payload of 0"},
      {"payload huge", WithField<uint64_t>(segment, 24, ~0ull), "a payload of"},
      {"payload other", WithField<uint64_t>(segment, 24, 1), "2 pieces for 1"},
      {"kind", WithField<uint8_t>(segment, 32, 4), "unknown kind"},
      {"encoding", WithField<uint8_t>(segment, 33, 9), "unknown kind"},
      {"arithmetic", WithField<uint8_t>(segment, 34, 3), "unknown kind"},
      {"lineage", WithField<uint8_t>(segment, 35, 255), "unknown kind"},
      {"position", WithField<uint32_t>(segment, 36, 0xffffffff), "position"},
      {"tokens", WithField<uint32_t>(segment, 136, 0xffffffff), "add up"},
      {"pieces", WithField<uint32_t>(segment, 140, 0xffffffff), "pieces for"},
      {"file 0", WithField<uint32_t>(segment, 152, 0), "payload file 0"},
      {"offset odd", WithField<uint64_t>(segment, 144, 4097), "an extent at 4097"},
      {"offset huge", WithField<uint64_t>(segment, 144, ~0ull << 12), "an extent at"},
      {"tails", WithField<uint32_t>(segment, 156, 2), "conv tails"},
      {"tails of a segment", WithField<uint32_t>(segment, 156, 1), "no tails"},
      {"previous state of a segment", WithField<uint64_t>(segment, 112, 1), "no previous state"},
      {"a segment as a log", WithField<uint8_t>(segment, 32, 3), "StateKey"},
      {"no tokens", WithField<uint32_t>(segment, 136, 0), "add up"},
  };
  for (const auto& test : cases) {
    const absl::Status status = Decode(test.bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << test.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.says)) << test.what;
  }
}

TEST(DiskRecord, KeysRoundTripAndSort) {
  const RecordKey key{.content = {1, 2}, .context = {3, ~0ull}};
  const std::string bytes = EncodeRecordKey(key);
  ASSERT_EQ(bytes.size(), 32u);
  EXPECT_EQ(*DecodeRecordKey(bytes), key);
  EXPECT_EQ(DecodeRecordKey(bytes.substr(1)).status().code(), absl::StatusCode::kDataLoss);
}

TEST(DiskRecord, ExtentsTakeWholePages) {
  EXPECT_EQ(Extent::RoomFor(1), 4096u);
  EXPECT_EQ(Extent::RoomFor(4096), 4096u);
  EXPECT_EQ(Extent::RoomFor(4097), 8192u);
  EXPECT_EQ((Extent{.file = 1, .offset = 8192, .payload_bytes = 5}.end()), 12288u);
}

}  // namespace
}  // namespace cistern::storage
