// RocksDB's log fails in the middle of a commit: what was acknowledged before and after it is there
// when the process or the machine dies at once, and so is what the failed commit was to replace.
#include <atomic>
#include <string>
#include <thread>
#include <tuple>

#include "gtest/gtest.h"

#include "tests/fault/disk_weather.h"

namespace cistern::storage {
namespace {

using How = LogFaults::How;

constexpr uint64_t kBytes = 100000;

class LogFaultTest : public DiskTest {
 protected:
  LogFaultTest() {
    options_.env = env_.get();
    options_.log.calls = &payload_;
  }
  ~LogFaultTest() override { tier_.reset(); }

  // What a start would find if the process were killed now.
  std::unique_ptr<RocksTier> AfterKill() {
    RocksTierOptions options = options_;
    options.disk.path = directory_.path() + "/copy" + std::to_string(++copies_);
    CopyAsOfKill(*tier_, options_.disk.path, options.disk.path);
    options.env = nullptr;
    options.log.calls = nullptr;
    auto tier = RocksTier::Open(options);
    EXPECT_TRUE(tier.ok()) << tier.status();
    return *std::move(tier);
  }

  // What failed goes once the database has flushed; the test's time limit bounds this.
  void ReclaimDownTo(uint64_t bytes) {
    do {
      ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
      std::this_thread::yield();
    } while (tier_->Stats().file_bytes > bytes);
    EXPECT_EQ(tier_->Stats().file_bytes, bytes);
  }

  PayloadFaults payload_;
  std::shared_ptr<LogFaults> log_ = std::make_shared<LogFaults>();
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(log_);
  int copies_ = 0;
};

class LogFaultsTest : public LogFaultTest,
                      public ::testing::WithParamInterface<std::tuple<How, bool, bool>> {
 protected:
  How how() const { return std::get<0>(GetParam()); }
  bool no_space() const { return std::get<1>(GetParam()); }
  // Whether the log is new when it fails: then RocksDB has nothing to flush, and would go on in it.
  bool fresh() const { return std::get<2>(GetParam()); }
};

// Behind a torn entry RocksDB finds nothing of the same log: nothing may be written there.
TEST_P(LogFaultsTest, WhatIsAcknowledgedAfterwardsSurvivesAKill) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, kBytes)), absl::OkStatus());
  if (fresh()) Open();
  log_->FailNext(how(), no_space());
  const absl::Status failed = WriteOne(*tier_, Segment(2, kBytes));
  EXPECT_EQ(failed.code(),
            no_space() ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kUnavailable)
      << failed;
  EXPECT_EQ(CheckReadBack(*tier_, Segment(2, kBytes)).code(), absl::StatusCode::kNotFound);
  for (uint64_t i = 3; i <= 6; ++i) {
    // RocksDB may be recovering by itself at the same moment; the test's time limit bounds this.
    while (!WriteOne(*tier_, Segment(i, kBytes)).ok()) std::this_thread::yield();
  }
  ASSERT_EQ(tier_->Delete({Segment(3, 1).key()}), absl::OkStatus());
  {
    const auto after = AfterKill();  // at once: the failed one is whole, or not there
    EXPECT_LE(after->Stats().dropped_headers, 1u);
    const absl::Status ghost = CheckReadBack(*after, Segment(2, kBytes));
    EXPECT_TRUE(ghost.ok() || absl::IsNotFound(ghost)) << ghost;
    for (const uint64_t i : {1, 4, 5, 6})
      EXPECT_EQ(CheckReadBack(*after, Segment(i, kBytes)), absl::OkStatus()) << i;
  }
  ReclaimDownTo(4 * RoundUpToPage(kBytes));
  const auto after = AfterKill();  // and when its room has been given back, it is not there
  EXPECT_EQ(after->Stats().records, 4u);
  EXPECT_EQ(after->Stats().dropped_headers, 0u);
  for (const uint64_t i : {1, 4, 5, 6})
    EXPECT_EQ(CheckReadBack(*after, Segment(i, kBytes)), absl::OkStatus()) << i;
  ASSERT_EQ(after->Reclaim(), absl::OkStatus());
  EXPECT_EQ(after->Stats().file_bytes, 4 * RoundUpToPage(kBytes));
}

// A kill at once, before anything else is written: one of the two versions, whole.
TEST_P(LogFaultsTest, AFailedReplacementLosesNothing) {
  const TestObject old_version = Segment(1, kBytes), new_version = Segment(1, kBytes / 2);
  Open();
  ASSERT_EQ(WriteOne(*tier_, old_version), absl::OkStatus());
  if (fresh()) Open();
  log_->FailNext(how(), no_space());
  EXPECT_FALSE(WriteOne(*tier_, new_version).ok());
  EXPECT_EQ(CheckReadBack(*tier_, old_version), absl::OkStatus());
  const auto after = AfterKill();
  EXPECT_EQ(after->Stats().records, 1u);
  EXPECT_TRUE(CheckReadBack(*after, old_version).ok() || CheckReadBack(*after, new_version).ok());
  // A clean end, where RocksDB writes what it still had for its log.
  Open();
  EXPECT_TRUE(CheckReadBack(*tier_, old_version).ok() || CheckReadBack(*tier_, new_version).ok());
}

// The same while the old log stays in use, because its headers cannot be put into a table: the
// payload of the failed commit stays as long as a start might find its header.
TEST_P(LogFaultsTest, AFailedReplacementOnADiskThatStaysBroken) {
  const TestObject old_version = Segment(1, kBytes), new_version = Segment(1, kBytes / 2);
  Open();
  ASSERT_EQ(WriteOne(*tier_, old_version), absl::OkStatus());
  if (fresh()) Open();
  log_->FailNext(how(), no_space());
  log_->RefuseTables(true);
  EXPECT_FALSE(WriteOne(*tier_, new_version).ok());
  uint64_t records = 1;
  for (uint64_t i = 2; i <= 4; ++i) {
    if (WriteOne(*tier_, Segment(i, kBytes)).ok()) ++records;
  }
  (void)tier_->Reclaim();
  EXPECT_EQ(CheckReadBack(*tier_, old_version), absl::OkStatus());
  {
    const auto after = AfterKill();
    EXPECT_EQ(after->Stats().records, records);
    EXPECT_TRUE(CheckReadBack(*after, old_version).ok() || CheckReadBack(*after, new_version).ok());
  }
  log_->RefuseTables(false);
  while (!WriteOne(*tier_, Segment(5, kBytes)).ok()) std::this_thread::yield();
  ReclaimDownTo((records + 1) * RoundUpToPage(kBytes));
  EXPECT_EQ(CheckReadBack(*tier_, old_version), absl::OkStatus());
  const auto after = AfterKill();
  EXPECT_EQ(after->Stats().records, records + 1);
  EXPECT_EQ(CheckReadBack(*after, old_version), absl::OkStatus());
}

// A new record that failed for want of room gives its own back at once, whatever the log holds.
TEST_F(LogFaultTest, WantOfRoomInTheLogKeepsNoPayload) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, kBytes)), absl::OkStatus());
  log_->FailNext(How::kWhole, /*no_space=*/true);
  log_->RefuseTables(true);
  EXPECT_FALSE(WriteOne(*tier_, Segment(2, kBytes)).ok());
  EXPECT_EQ(tier_->Stats().file_bytes, RoundUpToPage(kBytes));
  const auto after = AfterKill();
  EXPECT_EQ(CheckReadBack(*after, Segment(1, kBytes)), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(*after, Segment(2, kBytes)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(after->Stats().records, 1u);
  log_->RefuseTables(false);
}

// What took a failed write back can be flushed neither before the end nor at it: closing gives up.
TEST_F(LogFaultTest, AClosingTierDoesNotWaitForADiskThatFails) {
  Open();
  ASSERT_EQ(WriteOne(*tier_, Segment(1, kBytes)), absl::OkStatus());
  log_->FailNext(How::kTorn, /*no_space=*/false);
  EXPECT_FALSE(WriteOne(*tier_, Segment(2, kBytes)).ok());
  log_->RefuseTables(true);
  EXPECT_EQ(WriteOne(*tier_, Segment(3, kBytes)), absl::OkStatus()) << "in a log of its own";
  tier_.reset();  // the test's time limit bounds this
  log_->Clear();
  Open();
  for (const uint64_t i : {1, 3})
    EXPECT_EQ(CheckReadBack(*tier_, Segment(i, kBytes)), absl::OkStatus());
  const absl::Status ghost = CheckReadBack(*tier_, Segment(2, kBytes));
  EXPECT_TRUE(ghost.ok() || absl::IsNotFound(ghost)) << ghost;
}

// The order that makes a header worth something: name, payload, sync, and only then the log.
TEST_F(LogFaultTest, NoHeaderIsLoggedBeforeItsPayloadIsSafe) {
  options_.log.file_bytes = 1;  // a file for each commit
  options_.log.step_bytes = 1 << 20;
  Open();
  std::atomic<int> appends{0}, too_early{0};
  log_->Watch([&] {
    ++appends;
    if (payload_.HasUnsynced()) ++too_early;
  });
  for (uint64_t i = 1; i <= 10; ++i) {
    const uint64_t syncs = payload_.syncs();
    ASSERT_EQ(WriteOne(*tier_, Segment(i, i * 700000)), absl::OkStatus());
    EXPECT_GT(payload_.syncs(), syncs);
  }
  EXPECT_GE(appends.load(), 10);
  EXPECT_EQ(too_early.load(), 0);
  log_->Watch(nullptr);
}

INSTANTIATE_TEST_SUITE_P(Logs, LogFaultsTest,
                         ::testing::Combine(::testing::Values(How::kRefused, How::kTorn,
                                                              How::kWhole, How::kUnsynced),
                                            ::testing::Bool(), ::testing::Bool()));

}  // namespace
}  // namespace cistern::storage
