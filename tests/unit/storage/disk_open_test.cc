// Opening a disk tier: every way in which it can be refused says what is wrong and what to do.
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <sys/mount.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"

#include "storage/tier/disk_dir.h"
#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class DiskOpenTest : public DiskTest {
 protected:
  std::string Refused(absl::StatusCode code) {
    const absl::Status status = DiskTier::Open(options_.disk).status();
    EXPECT_EQ(status.code(), code) << status;
    return std::string(status.message());
  }
  void PutMeta(const std::string& key, const std::string& value) {
    const RocksDb& rocks = tier_->rocks();
    ASSERT_TRUE(rocks.db()->Put(rocksdb::WriteOptions(), rocks.meta(), key, value).ok());
    tier_.reset();
  }
  static std::string ReadFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  static void WriteFile(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  std::string rocks_path() const { return options_.disk.path + "/rocksdb"; }
};

TEST_F(DiskOpenTest, MakesTheDirectoryAndItsParents) {
  options_.disk.path = directory_.path() + "/a/b/c";
  auto tier = DiskTier::Open(options_.disk);
  ASSERT_TRUE(tier.ok()) << tier.status();
  EXPECT_EQ((*tier)->Stats().records, 0u);
  EXPECT_EQ(WriteOne(**tier, Segment(1, 100)), absl::OkStatus());
}

TEST_F(DiskOpenTest, ASecondOpenerIsRefusedUntilTheFirstCloses) {
  Open();
  EXPECT_THAT(
      Refused(absl::StatusCode::kFailedPrecondition),
      AllOf(HasSubstr("another server uses this directory"), HasSubstr("a directory of its own")));
  tier_.reset();
  EXPECT_TRUE(DiskTier::Open(options_.disk).ok());
}

TEST_F(DiskOpenTest, AFileInTheWayIsRefused) {
  std::ofstream(options_.disk.path) << "a file";
  EXPECT_THAT(Refused(absl::StatusCode::kInvalidArgument), HasSubstr("give a directory"));
  options_.disk.path += "/below";
  EXPECT_THAT(Refused(absl::StatusCode::kInvalidArgument), HasSubstr("give a directory"));
  options_.disk.path = "";
  EXPECT_THAT(Refused(absl::StatusCode::kInvalidArgument), HasSubstr("give a directory"));
}

TEST_F(DiskOpenTest, ADirectoryThatCannotBeMadeIsRefused) {
  options_.disk.path = "/proc/cistern/tier";  // not even root can
  const absl::Status status = DiskTier::Open(options_.disk).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/proc/cistern"), HasSubstr("may write")));
}

TEST_F(DiskOpenTest, AReadOnlyFileSystemIsRefused) {
  fs::create_directories(options_.disk.path);
  if (mount("tmpfs", options_.disk.path.c_str(), "tmpfs", MS_RDONLY, nullptr) != 0) {
    GTEST_SKIP() << "mounting a file system needs root";
  }
  EXPECT_THAT(Refused(absl::StatusCode::kPermissionDenied), HasSubstr("may write"));
  umount(options_.disk.path.c_str());
}

TEST_F(DiskOpenTest, ANewerFormatIsRefusedAndLeftAlone) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, 1000)), absl::OkStatus());
  PutMeta("format", "4");
  EXPECT_THAT(Refused(absl::StatusCode::kFailedPrecondition),
              AllOf(HasSubstr("format 4"), HasSubstr("run the version that wrote it")));
  EXPECT_THAT(Refused(absl::StatusCode::kFailedPrecondition), HasSubstr("format 4"));  // and again
}

TEST_F(DiskOpenTest, AnOlderFormatIsRefusedAndLeftAlone) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, 1000)), absl::OkStatus());
  PutMeta("format", "2");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(Refused(absl::StatusCode::kFailedPrecondition),
                AllOf(HasSubstr("format 2"), HasSubstr("Move the directory away"),
                      HasSubstr("run the version that wrote it")));
  }
  EXPECT_EQ(PayloadFiles().size(), 1u);
}

// As version 1 left it: a family of pieces.
TEST_F(DiskOpenTest, ADirectoryOfTheOlderFormatIsRefused) {
  fs::create_directories(rocks_path());
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, rocks_path(),
                                {{"default", {}}, {"headers", {}}, {"pieces", {}}}, &handles, &db)
                  .ok());
  ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), "format", "1").ok());
  for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
  delete db;
  EXPECT_THAT(Refused(absl::StatusCode::kFailedPrecondition),
              AllOf(HasSubstr("format 1"), HasSubstr("Move the directory away")));
}

// Room comes back by holes: without them the tier would only grow.
TEST_F(DiskOpenTest, AFileSystemWithoutHolesIsRefused) {
  class NoHoles final : public DiskCalls {
   public:
    int PunchHole(int, uint64_t, uint64_t) override {
      errno = EOPNOTSUPP;
      return -1;
    }
  } calls;
  options_.log.calls = &calls;
  const absl::Status status = RocksTier::Open(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("PUNCH_HOLE"), HasSubstr("ext4")));
}

// Names that only look like ours are left alone.
TEST_F(DiskOpenTest, OtherFilesBesideThePayloadStay) {
  fs::create_directories(options_.disk.path);
  for (const char* name : {"payload-1.log", "payload-0000000x.log", "payload-99999999999.log"})
    std::ofstream(options_.disk.path + "/" + name) << "mine";
  Open();
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(PayloadFiles().size(), 3u);
}

TEST_F(DiskOpenTest, AForeignFormatMarkIsRefused) {
  Open();
  PutMeta("format", "penguin");
  EXPECT_THAT(Refused(absl::StatusCode::kFailedPrecondition), HasSubstr("penguin"));
}

TEST_F(DiskOpenTest, SomebodyElsesDatabaseIsRefused) {
  fs::create_directories(rocks_path());
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, rocks_path(), &db).ok());
  ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), "their", "data").ok());
  delete db;
  EXPECT_THAT(Refused(absl::StatusCode::kFailedPrecondition),
              HasSubstr("without Cistern's format mark"));
}

TEST_F(DiskOpenTest, UnknownColumnFamiliesAreRefused) {
  Open();
  rocksdb::ColumnFamilyHandle* family = nullptr;
  ASSERT_TRUE(tier_->rocks().db()->CreateColumnFamily({}, "of_the_future", &family).ok());
  tier_->rocks().db()->DestroyColumnFamilyHandle(family);
  tier_.reset();
  EXPECT_THAT(Refused(absl::StatusCode::kFailedPrecondition), HasSubstr("of_the_future"));
}

TEST_F(DiskOpenTest, ADamagedDatabaseSaysHowToStartAfresh) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, 1000)), absl::OkStatus());
  tier_.reset();
  std::ofstream(rocks_path() + "/CURRENT") << "MANIFEST-999999\n";
  EXPECT_THAT(Refused(absl::StatusCode::kDataLoss), HasSubstr("move the directory away"));
}

// Every damage here is refused with the directory's name and a way out, and leaves the files alone.
TEST_F(DiskOpenTest, DamageInManifestCurrentAndFormatIsRefusedWithAWayOut) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, 1000)), absl::OkStatus());
  PutMeta("more", "of it");
  const std::string current = ReadFile(rocks_path() + "/CURRENT");
  const std::string manifest = rocks_path() + "/" + current.substr(0, current.size() - 1);
  const std::string good = ReadFile(manifest);
  const auto refused = [&] {
    EXPECT_THAT(Refused(absl::StatusCode::kDataLoss),
                AllOf(HasSubstr(options_.disk.path), HasSubstr("move the directory away")));
  };
  std::string bad = good;
  bad[good.size() / 2] ^= 0x10;
  WriteFile(manifest, bad);
  refused();
  fs::remove(manifest);
  refused();
  WriteFile(manifest, good);
  fs::remove(rocks_path() + "/CURRENT");
  refused();
  WriteFile(rocks_path() + "/CURRENT", "");
  refused();
  WriteFile(rocks_path() + "/CURRENT", "nonsense");
  refused();
  WriteFile(rocks_path() + "/CURRENT", current);
  Open();
  EXPECT_EQ(CheckReadBack(*tier_, Segment(1, 1000)), absl::OkStatus());
}

// What a killed server left half-written in the way in is removed.
TEST_F(DiskOpenTest, UnfinishedFilesAreRemovedAtTheStart) {
  Open();
  tier_.reset();
  const std::string left = options_.disk.path + "/incoming/77.sst";
  std::ofstream(left) << std::string(100000, 'x');
  Open();
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(DiskOpenTest, DirectIoIsUsedWhereThereIsOne) {
  Open();
  EXPECT_EQ(tier_->rocks().alignment(), DirectIoAlignment(directory_.path()));
}

}  // namespace
}  // namespace cistern::storage
