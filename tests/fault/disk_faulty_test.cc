// The wrapper that makes a disk fail on request does just that.
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "tests/fault/faulty_disk.h"
#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

class FaultyDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto real = DiskTier::Open({.path = directory_.path()});
    ASSERT_TRUE(real.ok()) << real.status();
    disk_ = std::make_unique<FaultyDisk>(*std::move(real));
    ASSERT_EQ(WriteOne(*disk_, object_), absl::OkStatus());
  }

  ScratchDirectory directory_;
  const TestObject object_ = Segment(1, 10000);
  std::unique_ptr<FaultyDisk> disk_;
};

TEST_F(FaultyDiskTest, FailsAsOftenAsItIsTold) {
  disk_->FailReads(absl::UnavailableError("r"), 2);
  disk_->FailWrites(absl::ResourceExhaustedError("w"), 1);
  disk_->FailDeletes(absl::InternalError("d"));
  EXPECT_EQ(CheckReadBack(*disk_, object_).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(disk_->Verify(object_.key()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CheckReadBack(*disk_, object_), absl::OkStatus());
  EXPECT_EQ(WriteOne(*disk_, object_).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(WriteOne(*disk_, object_), absl::OkStatus());
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(disk_->Delete({object_.key()}).code(), absl::StatusCode::kInternal);
  disk_->FailDeletes(absl::OkStatus(), 0);
  EXPECT_EQ(disk_->Delete({object_.key()}), absl::OkStatus());
}

TEST_F(FaultyDiskTest, CorruptsReads) {
  disk_->CorruptReads(true);
  std::vector<std::byte> bytes;
  EXPECT_EQ(ReadBack(*disk_, object_, &bytes), absl::OkStatus());
  EXPECT_NE(bytes, object_.bytes);
  disk_->CorruptReads(false);
  EXPECT_EQ(CheckReadBack(*disk_, object_), absl::OkStatus());
}

TEST_F(FaultyDiskTest, BlocksUntilReleased) {
  disk_->Block();
  absl::Status read = absl::UnknownError("not yet"), written = read;
  std::thread reader([&] { read = CheckReadBack(*disk_, object_); });
  std::thread writer([&] { written = WriteOne(*disk_, Segment(2, 5)); });
  disk_->AwaitBlocked(2);
  EXPECT_EQ(disk_->Stats().reads, 0u);
  EXPECT_EQ(disk_->Stats().writes, 1u);  // SetUp's
  disk_->Release();
  reader.join();
  writer.join();
  EXPECT_EQ(read, absl::OkStatus());
  EXPECT_EQ(written, absl::OkStatus());
}

}  // namespace
}  // namespace cistern::storage
