// Each system call on files of payload fails, or is the last that the process makes: what was
// acknowledged stays, what was not leaves no room behind.
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include <signal.h>

#include "gtest/gtest.h"

#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;

enum class Call { kNone, kWrite, kRead, kSync, kAllocate, kPunchHole };

// Fails one kind of call with EIO, or kills the process right before or after it.
class FailingCalls final : public DiskCalls {
 public:
  enum class How { kFail, kKillBefore, kKillAfter };

  void Set(Call call, How how = How::kFail) {
    how_.store(how);
    call_.store(call);
  }
  ssize_t Write(int fd, const iovec* parts, int count, uint64_t offset) override {
    return Do(Call::kWrite, [&] { return DiskCalls::Write(fd, parts, count, offset); });
  }
  ssize_t Read(int fd, const iovec* parts, int count, uint64_t offset) override {
    return Do(Call::kRead, [&] { return DiskCalls::Read(fd, parts, count, offset); });
  }
  int Sync(int fd) override {
    return Do(Call::kSync, [&] { return DiskCalls::Sync(fd); });
  }
  int Allocate(int fd, uint64_t offset, uint64_t bytes) override {
    return Do(Call::kAllocate, [&] { return DiskCalls::Allocate(fd, offset, bytes); });
  }
  int PunchHole(int fd, uint64_t offset, uint64_t bytes) override {
    return Do(Call::kPunchHole, [&] { return DiskCalls::PunchHole(fd, offset, bytes); });
  }

 private:
  template <typename Work>
  auto Do(Call call, Work work) -> decltype(work()) {
    if (call_.load() != call) return work();
    if (how_.load() == How::kFail) {
      errno = EIO;
      return -1;
    }
    if (how_.load() == How::kKillAfter) (void)work();
    raise(SIGKILL);
    return -1;
  }

  std::atomic<Call> call_{Call::kNone};
  std::atomic<How> how_{How::kFail};
};

class DiskCallsTest : public DiskTest {
 protected:
  DiskCallsTest() { options_.log.calls = &calls_; }
  ~DiskCallsTest() override { tier_.reset(); }
  FailingCalls calls_;
};

// A write that fails on its way leaves nothing, whether it runs into an error of the disk while
// making room, writing or syncing. Afterwards the tier goes on, in another file.
TEST_F(DiskCallsTest, AFailedWriteLeavesNothingAndTheTierGoesOn) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, 3 * kMiB)), absl::OkStatus());
  uint64_t failures = 0;
  for (const Call call : {Call::kAllocate, Call::kWrite, Call::kSync}) {
    SCOPED_TRACE(static_cast<int>(call));
    const TestObject big = Segment(2, 100 * kMiB);  // more than the room that was made before
    calls_.Set(call);
    const absl::Status status = WriteOne(*tier_, big);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_EQ(CheckReadBack(*tier_, big).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(CheckReadBack(*tier_, Segment(1, 3 * kMiB)), absl::OkStatus());
    calls_.Set(Call::kNone);
    EXPECT_EQ(tier_->Stats().write_failures, ++failures);
    EXPECT_EQ(tier_->Stats().file_bytes, (3 + 2 * (failures - 1)) * kMiB);
    const TestObject next = Segment(10 + failures, 2 * kMiB);
    ASSERT_EQ(WriteOne(*tier_, next), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, next), absl::OkStatus());
  }
  Open();
  EXPECT_EQ(tier_->Stats().records, 4u);
  EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
  for (uint64_t i = 11; i <= 13; ++i)
    EXPECT_EQ(CheckReadBack(*tier_, Segment(i, 2 * kMiB)), absl::OkStatus());
}

// A replacement that fails leaves the record that it was to replace.
TEST_F(DiskCallsTest, AFailedReplacementLeavesTheOldRecord) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, 3 * kMiB)), absl::OkStatus());
  for (const Call call : {Call::kWrite, Call::kSync}) {
    calls_.Set(call);
    EXPECT_FALSE(WriteOne(*tier_, Segment(1, 2 * kMiB)).ok());
    calls_.Set(Call::kNone);
    EXPECT_EQ(CheckReadBack(*tier_, Segment(1, 3 * kMiB)), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(Open(), Segment(1, 3 * kMiB)), absl::OkStatus());
  }
}

TEST_F(DiskCallsTest, AFailedReadSaysSoAndPasses) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, 3 * kMiB)), absl::OkStatus());
  calls_.Set(Call::kRead);
  EXPECT_EQ(CheckReadBack(*tier_, Segment(1, 3 * kMiB)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(tier_->Verify(Segment(1, 1).key()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(tier_->Stats().read_failures, 2u);
  EXPECT_EQ(tier_->Stats().checksum_failures, 0u);
  calls_.Set(Call::kNone);
  EXPECT_EQ(CheckReadBack(*tier_, Segment(1, 3 * kMiB)), absl::OkStatus());
}

TEST_F(DiskCallsTest, RoomThatCannotBeGivenBackIsTriedAgain) {
  Open();
  for (uint64_t i = 1; i <= 4; ++i) ASSERT_EQ(WriteOne(*tier_, Segment(i, kMiB)), absl::OkStatus());
  calls_.Set(Call::kPunchHole);
  ASSERT_EQ(tier_->Delete({Segment(2, 1).key()}), absl::OkStatus());
  EXPECT_EQ(tier_->Reclaim().code(), absl::StatusCode::kUnavailable);
  EXPECT_GE(tier_->Stats().reclaim_failures, 1u);
  EXPECT_EQ(tier_->Stats().file_bytes, 4 * kMiB);
  for (const uint64_t i : {1, 3, 4})
    EXPECT_EQ(CheckReadBack(*tier_, Segment(i, kMiB)), absl::OkStatus());
  calls_.Set(Call::kNone);
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().file_bytes, 3 * kMiB);
}

// ---- The last call of a process.

// A test of this kind runs twice: in the process that is killed, which gtest starts afresh (a fork
// of one with threads would lack them), and in ours. Both use one directory.
class DiskCallsKillTest : public DiskCallsTest,
                          public ::testing::WithParamInterface<std::pair<Call, FailingCalls::How>> {
 protected:
  static constexpr char kVariable[] = "CISTERN_DISK_CALLS_TEST";

  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    if (const char* path = std::getenv(kVariable); path != nullptr) {
      options_.disk.path = path;
    } else {
      setenv(kVariable, options_.disk.path.c_str(), 1);
    }
  }
  void TearDown() override { unsetenv(kVariable); }

  void Arm() { calls_.Set(GetParam().first, GetParam().second); }
};

class DiskCallsKillWriteTest : public DiskCallsKillTest {};
class DiskCallsKillReclaimTest : public DiskCallsKillTest {};

// Between the payload and its header: the new record is not there, the replaced one is, and the
// room comes back.
TEST_P(DiskCallsKillWriteTest, AKillBetweenPayloadAndHeader) {
  const TestObject replaced = Segment(1, 3 * kMiB), replacing = Segment(1, 5 * kMiB);
  const TestObject other = Segment(2, 70 * kMiB);  // more than the room that was made before
  EXPECT_EXIT(
      {
        ASSERT_EQ(WriteOne(Open(), replaced), absl::OkStatus());
        Arm();
        (void)tier_->Write({replacing.Item(), other.Item()});
      },
      ::testing::KilledBySignal(SIGKILL), "");
  Open();
  EXPECT_EQ(tier_->Stats().records, 1u);
  EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
  EXPECT_EQ(CheckReadBack(*tier_, replaced), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, other).code(), absl::StatusCode::kNotFound);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().file_bytes, 3 * kMiB);
  EXPECT_LT(DirectoryBytes(options_.disk.path), 4 * kMiB);
}

// Between a deletion and the room that it gives back, and right after that.
TEST_P(DiskCallsKillReclaimTest, AKillWhileRoomIsGivenBack) {
  EXPECT_EXIT(
      {
        Open();
        for (uint64_t i = 1; i <= 5; ++i)
          ASSERT_EQ(WriteOne(*tier_, Segment(i, kMiB)), absl::OkStatus());
        Arm();
        ASSERT_EQ(tier_->Delete({Segment(2, 1).key(), Segment(4, 1).key()}), absl::OkStatus());
        (void)tier_->Reclaim();
      },
      ::testing::KilledBySignal(SIGKILL), "");
  Open();
  EXPECT_EQ(tier_->Stats().records, 3u);
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().file_bytes, 3 * kMiB);
  EXPECT_LT(DirectoryBytes(options_.disk.path), 4 * kMiB);
  for (const uint64_t i : {1, 3, 5})
    EXPECT_EQ(CheckReadBack(*tier_, Segment(i, kMiB)), absl::OkStatus());
  for (const uint64_t i : {2, 4})
    EXPECT_EQ(CheckReadBack(*tier_, Segment(i, kMiB)).code(), absl::StatusCode::kNotFound);
}

constexpr auto kBefore = FailingCalls::How::kKillBefore, kAfter = FailingCalls::How::kKillAfter;
INSTANTIATE_TEST_SUITE_P(
    Calls, DiskCallsKillWriteTest,
    ::testing::Values(std::pair(Call::kAllocate, kBefore), std::pair(Call::kAllocate, kAfter),
                      std::pair(Call::kWrite, kBefore), std::pair(Call::kWrite, kAfter),
                      std::pair(Call::kSync, kBefore), std::pair(Call::kSync, kAfter)));
INSTANTIATE_TEST_SUITE_P(Calls, DiskCallsKillReclaimTest,
                         ::testing::Values(std::pair(Call::kPunchHole, kBefore),
                                           std::pair(Call::kPunchHole, kAfter)));

}  // namespace
}  // namespace cistern::storage
