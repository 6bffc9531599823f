// A full disk: writes say so, reads and deletes go on, and writes do once there is room.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <functional>
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
#include "rocksdb/db.h"
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

// Somebody else takes the room between our look at it and our use of it.
class Rival final : public DiskCalls {
 public:
  explicit Rival(std::function<void()> take) : take_(std::move(take)) {}
  void Arm() { armed_.store(true); }
  int Allocate(int fd, uint64_t offset, uint64_t bytes) override {
    if (armed_.exchange(false)) take_();
    return DiskCalls::Allocate(fd, offset, bytes);
  }

 private:
  const std::function<void()> take_;
  std::atomic<bool> armed_{false};
};

// The free space seems to do, and then it does not: the write itself runs into the wall.
TEST_F(SmallDiskTest, AWriteThatRunsOutOfSpaceLeavesNothingBehind) {
  Rival rival([this] { FillAllBut(2 * kMiB); });
  options_.log.calls = &rival;
  options_.reserve_bytes = 0;
  RocksTier& tier = Open();
  ASSERT_EQ(WriteOne(tier, Segment(1, kMiB)), absl::OkStatus());
  rival.Arm();
  const absl::Status status = WriteOne(tier, Segment(2, 4 * kMiB));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the disk is full"));
  EXPECT_EQ(FreeBytes(), 2 * kMiB);
  EXPECT_EQ(CheckReadBack(tier, Segment(1, kMiB)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, Segment(2, 4 * kMiB)).code(), absl::StatusCode::kNotFound);
  ASSERT_EQ(std::remove(ballast().c_str()), 0);
  EXPECT_EQ(WriteOne(tier, Segment(2, 4 * kMiB)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier, Segment(2, 4 * kMiB)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(Open(), Segment(2, 4 * kMiB)), absl::OkStatus());
  tier_.reset();  // before `rival`
}

// What was deleted makes room for the next write at once, whether the background has been there or
// not.
TEST_F(SmallDiskTest, AFullDiskTakesWhatDeletedRecordsHad) {
  RocksTier& tier = Open();
  uint64_t last = 0;
  while (WriteOne(tier, Segment(last + 1, 3 * kMiB)).ok()) ++last;
  for (uint64_t i = 1; i <= 3 * last; ++i) {
    ASSERT_EQ(tier.Delete({Segment(i, 1).key()}), absl::OkStatus());
    ASSERT_EQ(WriteOne(tier, Segment(last + i, 3 * kMiB)), absl::OkStatus()) << i;
  }
  for (uint64_t i = 3 * last + 1; i <= 4 * last; ++i)
    EXPECT_EQ(CheckReadBack(tier, Segment(i, 3 * kMiB)), absl::OkStatus());
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

// Deleting and giving room back need none, so a full disk is no dead end.
TEST_F(SmallDiskTest, ReclaimingNeedsNoRoom) {
  RocksTier& tier = Open();
  std::vector<TestObject> objects;
  std::vector<DiskTier::Item> items;
  for (uint64_t i = 1; i <= 20; ++i) objects.push_back(Segment(i, kMiB));
  for (const TestObject& object : objects) items.push_back(object.Item());
  for (const absl::Status& written : tier.Write(items)) ASSERT_EQ(written, absl::OkStatus());
  FillAllBut(0);
  ASSERT_EQ(tier.Delete({Segment(3, 1).key()}), absl::OkStatus());
  EXPECT_EQ(tier.Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier.Stats().reclaim_failures, 0u);
  EXPECT_EQ(tier.Stats().file_bytes, 19 * kMiB);
  EXPECT_EQ(CheckReadBack(tier, Segment(4, kMiB)), absl::OkStatus());
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

// The same for payload: no room, found before or while it is written.
class FullPayload final : public DiskCalls {
 public:
  enum class What { kNothing, kAllocate, kWrite };

  void Set(What what) { what_.store(what); }
  int Allocate(int fd, uint64_t offset, uint64_t bytes) override {
    if (what_.load() != What::kAllocate) return DiskCalls::Allocate(fd, offset, bytes);
    (void)DiskCalls::Allocate(fd, offset, bytes / 2);  // as much as there was
    return Full();
  }
  ssize_t Write(int fd, const iovec* parts, int count, uint64_t offset) override {
    if (what_.load() != What::kWrite) return DiskCalls::Write(fd, parts, count, offset);
    (void)DiskCalls::Write(fd, parts, 1, offset);
    return Full();
  }

 private:
  static int Full() {
    errno = ENOSPC;
    return -1;
  }
  std::atomic<What> what_{What::kNothing};
};

class FullFileTest : public DiskTest {
 protected:
  FullFileTest() {
    options_.env = env_.get();
    options_.log.calls = &calls_;
    options_.log.step_bytes = kMiB;  // a write of more needs room of its own
  }
  ~FullFileTest() override { tier_.reset(); }

  void ExpectRefusedButReadable(RocksTier& tier) {
    for (int attempt = 0; attempt < 2; ++attempt) {
      const absl::Status status = WriteOne(tier, Segment(2, 3 * kMiB));
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("the disk is full"));
      EXPECT_EQ(CheckReadBack(tier, Segment(1, 3 * kMiB)), absl::OkStatus());
      EXPECT_EQ(CheckReadBack(tier, Segment(2, 3 * kMiB)).code(), absl::StatusCode::kNotFound);
    }
    EXPECT_EQ(tier.Stats().write_failures, 2u);
    EXPECT_EQ(tier.Stats().file_bytes, 3 * kMiB);
  }
  void ExpectRecovers(RocksTier& tier) {
    // RocksDB may be recovering by itself at the same moment; the test's time limit bounds this.
    while (!WriteOne(tier, Segment(2, 3 * kMiB)).ok()) std::this_thread::yield();
    EXPECT_EQ(CheckReadBack(tier, Segment(2, 3 * kMiB)), absl::OkStatus());
    ASSERT_EQ(tier.Delete({Segment(1, 1).key()}), absl::OkStatus());
    Open();
    EXPECT_EQ(CheckReadBack(*tier_, Segment(2, 3 * kMiB)), absl::OkStatus());
    EXPECT_EQ(tier_->Stats().records, 1u);
    EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
  }

  std::shared_ptr<FullFor> disk_ = std::make_shared<FullFor>(rocksdb::FileSystem::Default());
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
  FullPayload calls_;
};

TEST_F(FullFileTest, NoRoomForPayload) {
  for (const auto what : {FullPayload::What::kAllocate, FullPayload::What::kWrite}) {
    options_.disk.path += "x";
    RocksTier& tier = Open();
    ASSERT_EQ(WriteOne(tier, Segment(1, 3 * kMiB)), absl::OkStatus());
    const uint64_t before = DirectoryBytes(options_.disk.path);
    calls_.Set(what);
    ExpectRefusedButReadable(tier);
    EXPECT_LE(DirectoryBytes(options_.disk.path), before);
    calls_.Set(FullPayload::What::kNothing);
    ExpectRecovers(tier);
  }
}

TEST_F(FullFileTest, NoRoomForTheLog) {
  RocksTier& tier = Open();
  ASSERT_EQ(WriteOne(tier, Segment(1, 3 * kMiB)), absl::OkStatus());
  disk_->Set("rocksdb/0");  // logs and table files of the database
  ExpectRefusedButReadable(tier);
  disk_->Set(nullptr);
  ExpectRecovers(tier);
}

// Commits do not touch the manifest; when headers go from memory into a file, it is needed.
TEST_F(FullFileTest, NoRoomForTheManifest) {
  RocksTier& tier = Open();
  ASSERT_EQ(WriteOne(tier, Segment(1, 3 * kMiB)), absl::OkStatus());
  disk_->Set("MANIFEST");
  const RocksDb& rocks = tier.rocks();
  EXPECT_FALSE(rocks.db()->Flush(rocksdb::FlushOptions(), rocks.headers()).ok());
  ExpectRefusedButReadable(tier);
  disk_->Set(nullptr);
  ExpectRecovers(tier);
}

}  // namespace
}  // namespace cistern::storage
