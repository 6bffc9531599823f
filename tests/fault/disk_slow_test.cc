// A disk on which one call hangs: nothing waits for it that does not need it.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "base/mutex.h"
#include "tests/fault/disk_weather.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// The next call of one kind hangs until it is let go.
class HangingCalls final : public DiskCalls {
 public:
  enum class Call { kNone, kWrite, kRead, kSync, kAllocate, kPunchHole, kSyncDirectory };

  void Hang(Call call) {
    base::MutexLock lock(&mutex_);
    call_ = call;
    let_go_ = false;
  }
  void AwaitHanging() {
    base::MutexLock lock(&mutex_);
    changed_.wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return hanging_; });
  }
  void LetGo() {
    {
      base::MutexLock lock(&mutex_);
      let_go_ = true;
    }
    changed_.notify_all();
  }
  bool hanging() const {
    base::MutexLock lock(&mutex_);
    return hanging_;
  }

  ssize_t Write(int fd, const iovec* parts, int count, uint64_t offset) override {
    Pass(Call::kWrite);
    return DiskCalls::Write(fd, parts, count, offset);
  }
  ssize_t Read(int fd, const iovec* parts, int count, uint64_t offset) override {
    Pass(Call::kRead);
    return DiskCalls::Read(fd, parts, count, offset);
  }
  int Sync(int fd) override {
    Pass(Call::kSync);
    return DiskCalls::Sync(fd);
  }
  int SyncDirectory(const char* path) override {
    Pass(Call::kSyncDirectory);
    return DiskCalls::SyncDirectory(path);
  }
  int Allocate(int fd, uint64_t offset, uint64_t bytes) override {
    Pass(Call::kAllocate);
    return DiskCalls::Allocate(fd, offset, bytes);
  }
  int PunchHole(int fd, uint64_t offset, uint64_t bytes) override {
    Pass(Call::kPunchHole);
    return DiskCalls::PunchHole(fd, offset, bytes);
  }

 private:
  void Pass(Call call) {
    base::MutexLock lock(&mutex_);
    if (call_ != call) return;
    call_ = Call::kNone;
    hanging_ = true;
    changed_.notify_all();
    changed_.wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return let_go_; });
    hanging_ = false;
  }

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  Call call_ ABSL_GUARDED_BY(mutex_) = Call::kNone;
  bool hanging_ ABSL_GUARDED_BY(mutex_) = false, let_go_ ABSL_GUARDED_BY(mutex_) = false;
};

class SlowDiskTest : public DiskTest {
 protected:
  SlowDiskTest() {
    options_.log.calls = &calls_;
    options_.log.file_bytes = kMiB;  // a file for each of the commits here
    options_.log.step_bytes = kMiB;
    options_.env = env_.get();
  }
  ~SlowDiskTest() override {
    calls_.LetGo();
    tier_.reset();
  }
  void WriteSome() {
    Open();
    for (uint64_t i = 1; i <= 4; ++i)
      ASSERT_EQ(WriteOne(*tier_, Segment(i, kMiB)), absl::OkStatus());
  }
  void ExpectReadsGoOn() {
    for (const uint64_t i : {1, 2})
      EXPECT_EQ(CheckReadBack(*tier_, Segment(i, kMiB)), absl::OkStatus());
    EXPECT_EQ(tier_->Verify(Segment(1, 1).key()), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, Segment(99, 1)).code(), absl::StatusCode::kNotFound);
  }

  HangingCalls calls_;
  std::shared_ptr<LogFaults> log_ = std::make_shared<LogFaults>();
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(log_);
};

class SlowWriteTest : public SlowDiskTest,
                      public ::testing::WithParamInterface<HangingCalls::Call> {};

// A commit that takes in no more than so many bytes leaves others behind it in the queue: each is
// written by somebody, whoever wakes first.
TEST_F(SlowDiskTest, EveryWriteBehindALargeOneIsWritten) {
  WriteSome();
  const TestObject large = Segment(50, 130 * kMiB);
  for (int round = 0; round < 3; ++round) {
    calls_.Hang(HangingCalls::Call::kWrite);
    std::vector<std::thread> writers;
    std::atomic<int> written{0};
    const auto write = [&](const TestObject& object) {
      writers.emplace_back([&, object] { written += WriteOne(*tier_, object).ok() ? 1 : 0; });
    };
    write(Segment(51, kMiB));
    calls_.AwaitHanging();
    write(large);
    for (uint64_t i = 52; i < 56; ++i) write(Segment(i, kMiB));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // they have probably queued by now
    calls_.LetGo();
    for (std::thread& writer : writers) writer.join();
    EXPECT_EQ(written.load(), 6);
    for (uint64_t i = 51; i < 56; ++i)
      EXPECT_EQ(CheckReadBack(*tier_, Segment(i, kMiB)), absl::OkStatus()) << i;
    EXPECT_EQ(CheckReadBack(*tier_, large), absl::OkStatus());
  }
}

// Reads and deletes pass a commit that hangs, wherever it does.
TEST_P(SlowWriteTest, ReadsAndDeletesGoOnBesideAWriteThatHangs) {
  WriteSome();
  calls_.Hang(GetParam());
  absl::Status written = absl::UnknownError("not yet");
  std::thread writer([&] { written = WriteOne(*tier_, Segment(5, 3 * kMiB)); });
  calls_.AwaitHanging();
  ExpectReadsGoOn();
  EXPECT_EQ(tier_->Delete({Segment(3, 1).key()}), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, Segment(3, kMiB)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, Segment(5, 3 * kMiB)).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(calls_.hanging());
  calls_.LetGo();
  writer.join();
  EXPECT_EQ(written, absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, Segment(5, 3 * kMiB)), absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(Calls, SlowWriteTest,
                         ::testing::Values(HangingCalls::Call::kAllocate,
                                           HangingCalls::Call::kSyncDirectory,
                                           HangingCalls::Call::kWrite, HangingCalls::Call::kSync));

// Everything passes a read that hangs, the end of its own record too.
TEST_F(SlowDiskTest, AllElseGoesOnBesideAReadThatHangs) {
  WriteSome();
  calls_.Hang(HangingCalls::Call::kRead);
  absl::Status read = absl::UnknownError("not yet");
  std::thread reader([&] { read = CheckReadBack(*tier_, Segment(4, kMiB)); });
  calls_.AwaitHanging();
  ExpectReadsGoOn();
  EXPECT_EQ(WriteOne(*tier_, Segment(5, kMiB)), absl::OkStatus());
  EXPECT_EQ(tier_->Delete({Segment(3, 1).key(), Segment(4, 1).key()}), absl::OkStatus());
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().file_bytes, 3 * kMiB);
  EXPECT_TRUE(calls_.hanging());
  calls_.LetGo();
  reader.join();
  EXPECT_EQ(read.code(), absl::StatusCode::kNotFound) << read;
}

TEST_F(SlowDiskTest, AllElseGoesOnWhileRoomIsGivenBackSlowly) {
  options_.log.file_bytes = 64 * kMiB;
  WriteSome();
  calls_.Hang(HangingCalls::Call::kPunchHole);
  ASSERT_EQ(tier_->Delete({Segment(3, 1).key()}), absl::OkStatus());
  calls_.AwaitHanging();
  ExpectReadsGoOn();
  EXPECT_EQ(WriteOne(*tier_, Segment(5, kMiB)), absl::OkStatus());
  EXPECT_EQ(tier_->Delete({Segment(4, 1).key()}), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*tier_, Segment(5, kMiB)), absl::OkStatus());
  EXPECT_TRUE(calls_.hanging());
  calls_.LetGo();
  EXPECT_EQ(tier_->Reclaim(), absl::OkStatus());
  while (tier_->Stats().file_bytes > 3 * kMiB) std::this_thread::yield();
  ExpectReadsGoOn();
}

// The database's log hangs: headers wait for it, reads do not.
TEST_F(SlowDiskTest, ReadsGoOnBesideALogThatHangs) {
  WriteSome();
  base::Mutex mutex;
  base::CondVar changed;
  bool hanging = false, let_go = false;
  log_->Watch([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    base::MutexLock lock(&mutex);
    hanging = true;
    changed.notify_all();
    changed.wait(mutex, [&] { return let_go; });
  });
  absl::Status written = absl::UnknownError("not yet");
  std::thread writer([&] { written = WriteOne(*tier_, Segment(5, kMiB)); });
  {
    base::MutexLock lock(&mutex);
    changed.wait(mutex, [&] { return hanging; });
  }
  ExpectReadsGoOn();
  {
    base::MutexLock lock(&mutex);
    let_go = true;
  }
  changed.notify_all();
  writer.join();
  EXPECT_EQ(written, absl::OkStatus());
  log_->Watch(nullptr);
  EXPECT_EQ(CheckReadBack(*tier_, Segment(5, kMiB)), absl::OkStatus());
}

// ---- Errors that pass.

class PassingErrorTest : public DiskTest {
 protected:
  PassingErrorTest() {
    options_.log.calls = &payload_;
    options_.log.file_bytes = kMiB;
    options_.log.step_bytes = kMiB;
  }
  ~PassingErrorTest() override { tier_.reset(); }
  PayloadFaults payload_;
};

// A file that cannot be opened at the moment is not a file that is gone: its headers stay.
TEST_F(PassingErrorTest, AnErrorWhileOpeningDropsNoHeaders) {
  Open();
  for (uint64_t i = 1; i <= 3; ++i) ASSERT_EQ(WriteOne(*tier_, Segment(i, kMiB)), absl::OkStatus());
  for (const int error : {EMFILE, EACCES, EIO, ENOMEM}) {
    SCOPED_TRACE(error);
    tier_.reset();
    payload_.FailNext(PayloadFaults::Call::kOpen, error, /*skip=*/1, /*times=*/2);
    const auto refused = RocksTier::Open(options_);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable) << refused.status();
    payload_.Clear();
    Open();
    EXPECT_EQ(tier_->Stats().records, 3u);
    EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
    for (uint64_t i = 1; i <= 3; ++i)
      EXPECT_EQ(CheckReadBack(*tier_, Segment(i, kMiB)), absl::OkStatus());
  }
}

// Nor is payload that cannot be read at the moment damaged.
TEST_F(PassingErrorTest, AnErrorWhileCheckingDropsNoHeaders) {
  Open();
  TestObject zeros = Segment(1, kMiB);
  zeros.bytes.assign(kMiB, std::byte{0});
  ASSERT_EQ(WriteOne(*tier_, zeros), absl::OkStatus());
  const Extent extent = Record(zeros).extent;
  tier_.reset();
  const auto file = PayloadFile::Open(PayloadFiles().at(0), {});  // a hole, which stands for zeros
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->PunchHole(extent.offset, extent.payload_bytes), absl::OkStatus());
  payload_.FailNext(PayloadFaults::Call::kRead, EIO);
  const auto refused = RocksTier::Open(options_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable) << refused.status();
  EXPECT_EQ(CheckReadBack(Open(), zeros), absl::OkStatus());
  EXPECT_EQ(tier_->Stats().dropped_headers, 0u);
}

TEST_F(PassingErrorTest, ANewFileWhoseNameIsNotSafeTakesNoPayload) {
  Open();
  payload_.FailNext(PayloadFaults::Call::kSyncDirectory, EIO);
  EXPECT_EQ(WriteOne(*tier_, Segment(1, kMiB)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(WriteOne(*tier_, Segment(2, kMiB)), absl::OkStatus());
  ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
  EXPECT_EQ(PayloadFiles().size(), 1u);
  EXPECT_EQ(CheckReadBack(Open(), Segment(2, kMiB)), absl::OkStatus());
}

// A call that does half of its work is asked for the rest, from aligned memory and from other.
TEST_F(PassingErrorTest, AShortWriteIsFinished) {
  Open();
  for (uint64_t i = 1; i <= 3; ++i) {
    const uint64_t bytes = i * 2 * kMiB - (i - 1) * 77;
    payload_.FailNext(PayloadFaults::Call::kShortWrite, 0, /*skip=*/0, /*times=*/3);
    ASSERT_EQ(WriteOne(*tier_, Segment(i, bytes)), absl::OkStatus());
    EXPECT_EQ(CheckReadBack(*tier_, Segment(i, bytes)), absl::OkStatus());
  }
}

}  // namespace
}  // namespace cistern::storage
