// A full disk: writes say so, reads and deletes go on, and writes do once there is room.
#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

// ---- A file system of a few megabytes, where root allows one.

class SmallDiskTest : public DiskTest {
 protected:
  void SetUp() override {
    mounted_ = mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=64m") == 0;
    if (!mounted_) GTEST_SKIP() << "mounting a file system needs root";
  }
  void TearDown() override {
    tier_.reset();
    if (mounted_) umount(directory_.path().c_str());
  }
  uint64_t FreeBytes() const {
    struct statvfs stats;
    EXPECT_EQ(statvfs(directory_.path().c_str(), &stats), 0);
    return stats.f_bavail * stats.f_frsize;
  }
  // Takes all but `left` bytes with a file beside the tier.
  void FillAllBut(uint64_t left) {
    const int fd = open(ballast().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(posix_fallocate(fd, 0, static_cast<off_t>(FreeBytes() - left)), 0);
    close(fd);
    ASSERT_EQ(FreeBytes(), left);
  }
  std::string ballast() const { return directory_.path() + "/ballast"; }

  bool mounted_ = false;
};

// Objects until there is no room, as a node would write them.
TEST_F(SmallDiskTest, FillsUpAndRecoversByDeleting) {
  RocksTier& tier = Open();
  uint64_t kept = 0;
  absl::Status status;
  while ((status = WriteOne(tier, Segment(kept + 1, 3 * kMiB + 11))).ok()) ++kept;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("evict objects, or give the tier another disk"));
  EXPECT_GT(kept, 5u);
  EXPECT_EQ(tier.Stats().write_failures, 1u);
  for (uint64_t i = 1; i <= kept; ++i)
    EXPECT_EQ(CheckReadBack(tier, Segment(i, 3 * kMiB + 11)), absl::OkStatus());

  ASSERT_EQ(tier.Delete({Segment(1, 1).key(), Segment(2, 1).key()}), absl::OkStatus());
  ASSERT_EQ(tier.Reclaim(), absl::OkStatus());
  EXPECT_EQ(WriteOne(tier, Segment(1, 3 * kMiB + 11)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(Open(), Segment(1, 3 * kMiB + 11)), absl::OkStatus());
}

// The free space seems to do, and then it does not: the write itself runs into the wall.
TEST_F(SmallDiskTest, AWriteThatRunsOutOfSpaceLeavesNothingBehind) {
  options_.reserve_bytes = 0;
  RocksTier& tier = Open();
  ASSERT_EQ(WriteOne(tier, Segment(1, kMiB)), absl::OkStatus());
  FillAllBut(4 * kMiB);
  const absl::Status status =
      WriteOne(tier, Segment(2, 4 * kMiB));  // exactly, but a file has an index too
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the disk is full"));
  EXPECT_EQ(FreeBytes(), 4 * kMiB);
  EXPECT_EQ(CheckReadBack(tier, Segment(1, kMiB)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, Segment(2, 4 * kMiB)).code(), absl::StatusCode::kNotFound);
  ASSERT_EQ(std::remove(ballast().c_str()), 0);
  EXPECT_EQ(WriteOne(tier, Segment(2, 4 * kMiB)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, Segment(2, 4 * kMiB)), absl::OkStatus());
}

// However little is left, opening works or says why it does not; what was there is there
// afterwards.
TEST_F(SmallDiskTest, OpeningOnAFullDiskWorksOrSaysSo) {
  ASSERT_EQ(WriteOne(Open(), Segment(1, kMiB)), absl::OkStatus());
  int refused = 0;
  for (uint64_t left : {0, 1, 2, 3, 8, 20, 60, 300, 1000}) {
    tier_.reset();
    FillAllBut(left * 4096);
    auto tier = RocksTier::Open(options_);
    if (!tier.ok()) {
      EXPECT_EQ(tier.status().code(), absl::StatusCode::kResourceExhausted) << tier.status();
      ++refused;
    } else {
      EXPECT_EQ(CheckReadBack(**tier, Segment(1, kMiB)), absl::OkStatus());
      tier->reset();
    }
    ASSERT_EQ(std::remove(ballast().c_str()), 0);
    EXPECT_EQ(CheckReadBack(Open(), Segment(1, kMiB)), absl::OkStatus()) << left;
  }
  EXPECT_GT(refused, 0);
}

// Rewriting files needs room of its own; without it the call says so and loses nothing.
TEST_F(SmallDiskTest, ReclaimingWithoutRoomFailsCleanly) {
  RocksTier& tier = Open();
  std::vector<TestObject> objects;
  std::vector<DiskTier::Item> items;
  for (uint64_t i = 1; i <= 20; ++i) objects.push_back(Segment(i, kMiB));
  for (const TestObject& object : objects) items.push_back(object.Item());
  for (const absl::Status& written : tier.Write(items)) ASSERT_EQ(written, absl::OkStatus());
  ASSERT_EQ(tier.Delete({Segment(3, 1).key()}), absl::OkStatus());
  FillAllBut(2 * kMiB);
  EXPECT_EQ(tier.Reclaim().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(tier.Stats().reclaim_failures, 1u);
  EXPECT_EQ(CheckReadBack(tier, Segment(4, kMiB)), absl::OkStatus());
  ASSERT_EQ(std::remove(ballast().c_str()), 0);
  EXPECT_EQ(tier.Reclaim(), absl::OkStatus());
  EXPECT_LT(tier.Stats().file_bytes, 20 * kMiB);
}

// ---- A file system that says "full" for one kind of file, which no real one does at the wanted
// moment.

class FullFor final : public rocksdb::FileSystemWrapper {
 public:
  explicit FullFor(const std::shared_ptr<rocksdb::FileSystem>& base) : FileSystemWrapper(base) {}
  const char* Name() const override { return "FullFor"; }

  // Files whose names contain `part` take no more bytes; nullptr: all do.
  void Set(const char* part) { part_.store(part); }
  bool Refuses(const std::string& name) const {
    const char* part = part_.load();
    return part != nullptr && absl::StrContains(name, part);
  }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;

 private:
  std::atomic<const char*> part_{nullptr};
};

class LimitedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LimitedFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name, const FullFor* disk)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), disk_(disk) {}
  using FSWritableFileOwnerWrapper::Append;
  using FSWritableFileOwnerWrapper::PositionedAppend;

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    return disk_->Refuses(name_) ? Full()
                                 : FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset,
                                     const rocksdb::IOOptions& options,
                                     rocksdb::IODebugContext* debug) override {
    return disk_->Refuses(name_)
               ? Full()
               : FSWritableFileOwnerWrapper::PositionedAppend(data, offset, options, debug);
  }

 private:
  static rocksdb::IOStatus Full() { return rocksdb::IOStatus::NoSpace("No space left on device"); }

  const std::string name_;
  const FullFor* const disk_;
};

rocksdb::IOStatus FullFor::NewWritableFile(const std::string& name,
                                           const rocksdb::FileOptions& options,
                                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                                           rocksdb::IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  rocksdb::IOStatus status = target()->NewWritableFile(name, options, &file, debug);
  if (status.ok()) *result = std::make_unique<LimitedFile>(std::move(file), name, this);
  return status;
}

class FullFileTest : public DiskTest {
 protected:
  ~FullFileTest() override { tier_.reset(); }

  std::shared_ptr<FullFor> disk_ = std::make_shared<FullFor>(rocksdb::FileSystem::Default());
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
};

// Whichever file it is that has no room: the payload's, the log's or the manifest.
class FullFileKinds : public FullFileTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(FullFileKinds, TheTierStaysReadableAndRecovers) {
  options_.env = env_.get();
  RocksTier& tier = Open();
  ASSERT_EQ(WriteOne(tier, Segment(1, 3 * kMiB)), absl::OkStatus());

  disk_->Set(GetParam());
  for (int attempt = 0; attempt < 2; ++attempt) {
    const absl::Status status = WriteOne(tier, Segment(2, 3 * kMiB));
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("the disk is full"));
    EXPECT_EQ(CheckReadBack(tier, Segment(1, 3 * kMiB)), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(tier, Segment(2, 3 * kMiB)).code(), absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(tier.Stats().write_failures, 2u);

  disk_->Set(nullptr);
  absl::Status status;
  // RocksDB may be recovering by itself at the same moment; the test's time limit bounds this.
  while (!(status = WriteOne(tier, Segment(2, 3 * kMiB))).ok()) std::this_thread::yield();
  EXPECT_EQ(CheckReadBack(tier, Segment(2, 3 * kMiB)), absl::OkStatus());
  ASSERT_EQ(tier.Delete({Segment(1, 1).key()}), absl::OkStatus());
  Open();
  EXPECT_EQ(CheckReadBack(*tier_, Segment(2, 3 * kMiB)), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().records, 1u);
}

// The rewritten file finds no room: what it was to replace stays, and the tier goes on.
TEST_F(FullFileTest, RewritingThatRunsOutOfSpaceLosesNothing) {
  options_.env = env_.get();
  RocksTier& tier = Open();
  for (uint64_t i = 1; i <= 4; ++i) ASSERT_EQ(WriteOne(tier, Segment(i, kMiB)), absl::OkStatus());
  ASSERT_EQ(tier.Delete({Segment(2, 1).key()}), absl::OkStatus());
  disk_->Set("rocksdb/0");  // table files and logs of the database
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_EQ(tier.Reclaim().code(), absl::StatusCode::kResourceExhausted);
    for (uint64_t i : {1, 3, 4}) EXPECT_EQ(CheckReadBack(tier, Segment(i, kMiB)), absl::OkStatus());
  }
  disk_->Set(nullptr);
  while (!WriteOne(tier, Segment(5, kMiB)).ok()) std::this_thread::yield();  // as above
  while (!tier.Reclaim().ok()) std::this_thread::yield();
  EXPECT_LT(tier.Stats().file_bytes, 4 * kMiB + kMiB / 2);
  for (uint64_t i : {1, 3, 4, 5})
    EXPECT_EQ(CheckReadBack(tier, Segment(i, kMiB)), absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(Files, FullFileKinds, ::testing::Values("incoming", ".log", "MANIFEST"),
                         [](const auto& info) {
                           const std::string part = info.param;
                           return part == "incoming" ? "Payload"
                                  : part == ".log"   ? "Log"
                                                     : "Manifest";
                         });

}  // namespace
}  // namespace cistern::storage
