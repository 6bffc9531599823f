// What the tests of the disk tier share: a directory that goes away, and objects whose bytes follow
// from a seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "gtest/gtest.h"
#include "rocksdb/db.h"

#include "base/object.h"
#include "storage/tier/disk_tier.h"
#include "storage/tier/record.h"
#include "storage/tier/rocks_tier.h"

namespace cistern::storage {

class ScratchDirectory {
 public:
  // Below `parent`, or TEST_TMPDIR, or /tmp.
  explicit ScratchDirectory(std::string parent = "") {
    const char* preset = std::getenv("TEST_TMPDIR");
    if (parent.empty()) parent = preset == nullptr ? "/tmp" : preset;
    std::string name = parent + "/cistern_disk_XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// One bit of a file that is not what was written.
inline void FlipByte(const std::filesystem::path& path, uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char flipped = static_cast<char>(file.get() ^ 0x10);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(flipped);
  ASSERT_TRUE(file.good());
}

// Bytes that follow from `seed`, and no others would do.
inline std::vector<std::byte> PatternBytes(uint64_t seed, uint64_t bytes) {
  std::vector<std::byte> out(bytes);
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (uint64_t i = 0; i < bytes; i += sizeof(state)) {
    state = state * 6364136223846793005 + 1442695040888963407;
    std::memcpy(out.data() + i, &state, std::min<uint64_t>(sizeof(state), bytes - i));
  }
  return out;
}

// An object named by `seed`, with its payload in one or more runs of memory.
struct TestObject {
  base::ObjectHeader header;
  std::vector<std::byte> bytes;
  std::vector<uint64_t> runs;  // sizes; empty: one run

  RecordKey key() const { return {header.content, header.context}; }

  template <typename Byte, typename Bytes>
  std::vector<std::span<Byte>> Runs(Bytes& from) const {
    std::span<Byte> rest(from);
    std::vector<std::span<Byte>> out;
    for (uint64_t size : runs) {
      out.push_back(rest.first(size));
      rest = rest.subspan(size);
    }
    if (!rest.empty() || out.empty()) out.push_back(rest);
    return out;
  }
  Tier::Item Item() const { return {.header = header, .payload = Runs<const std::byte>(bytes)}; }
};

inline TestObject Segment(uint64_t seed, uint64_t bytes, uint32_t num_tokens = 128) {
  TestObject object;
  object.header.model = {seed + 1, 77};
  object.header.tenant = seed % 3;
  object.header.content = {seed * 3 + 1, ~seed};
  object.header.context = {seed * 5 + 1, seed + 9};
  object.header.parent_context = {seed, 4};
  object.header.base_position = static_cast<uint32_t>(seed * 16);
  object.header.encoding =
      seed % 2 == 0 ? base::RotaryEncoding::kUnrotated : base::RotaryEncoding::kRotated;
  object.header.arithmetic = static_cast<base::RotaryArithmetic>(seed % 3);
  object.header.lineage = static_cast<base::Lineage>(seed % 2);
  for (uint32_t i = 0; i < num_tokens; ++i)
    object.header.tokens.push_back(static_cast<uint32_t>(seed * 1000 + i));
  object.bytes = PatternBytes(seed, bytes);
  return object;
}

inline TestObject Blob(uint64_t seed, uint64_t bytes) {
  TestObject object;
  object.header.kind = base::ObjectKind::kBlob;
  object.header.content = {~seed, seed + 1};
  object.header.blob_bytes = bytes;
  object.bytes = PatternBytes(seed, bytes);
  return object;
}

inline absl::Status WriteOne(Tier& tier, const TestObject& object) {
  return tier.Write({object.Item()}).at(0);
}

// Reads `object` into memory of the same runs; what came is in `bytes`.
inline absl::Status ReadBack(Tier& tier, const TestObject& object, std::vector<std::byte>* bytes) {
  bytes->assign(object.bytes.size(), std::byte{0xee});
  return tier.Read(object.key(), object.Runs<std::byte>(*bytes));
}

// OK only when every byte is the object's.
inline absl::Status CheckReadBack(Tier& tier, const TestObject& object) {
  std::vector<std::byte> bytes;
  if (absl::Status status = ReadBack(tier, object, &bytes); !status.ok()) return status;
  return bytes == object.bytes ? absl::OkStatus() : absl::InternalError("other bytes came back");
}

// What the files below `path` take on the disk, as du tells it.
inline uint64_t DirectoryBytes(const std::string& path) {
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    struct stat stats {};
    if (stat(it->path().c_str(), &stats) == 0 && S_ISREG(stats.st_mode))
      bytes += uint64_t{512} * static_cast<uint64_t>(stats.st_blocks);
  }
  return bytes;
}

class DiskTest : public ::testing::Test {
 protected:
  // Closes the tier that is open and opens it again.
  RocksTier& Open() {
    tier_.reset();
    auto tier = RocksTier::Open(options_);
    EXPECT_TRUE(tier.ok()) << tier.status();
    tier_ = *std::move(tier);
    return *tier_;
  }

  // The files of payload, by their numbers.
  std::vector<std::filesystem::path> PayloadFiles() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(options_.disk.path)) {
      if (entry.path().extension() == ".log") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  // As it stands in the database, and into it past the tier, as bad memory or another program
  // would.
  std::string Header(const TestObject& object) const {
    const RocksDb& rocks = tier_->rocks();
    std::string bytes;
    EXPECT_TRUE(
        rocks.db()
            ->Get(rocksdb::ReadOptions(), rocks.headers(), EncodeRecordKey(object.key()), &bytes)
            .ok());
    return bytes;
  }
  DiskRecord Record(const TestObject& object) const {
    const std::string bytes = Header(object);
    auto record = DecodeRecord({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
    EXPECT_TRUE(record.ok()) << record.status();
    return *std::move(record);
  }
  void PutHeader(const std::string& key, const std::string& bytes) const {
    const RocksDb& rocks = tier_->rocks();
    EXPECT_TRUE(rocks.db()->Put(rocksdb::WriteOptions(), rocks.headers(), key, bytes).ok());
  }
  void PutRecord(const TestObject& object, const DiskRecord& record) const {
    PutHeader(EncodeRecordKey(object.key()), EncodeRecord(record));
  }

  ScratchDirectory directory_;
  RocksTierOptions options_{.disk = {.path = directory_.path() + "/tier"}};
  std::unique_ptr<RocksTier> tier_;
};

}  // namespace cistern::storage
