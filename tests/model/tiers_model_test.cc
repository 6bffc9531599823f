// Memory over memory over a disk that fails now and then, against a map of what has been written:
// random operations on the top, random pressure and faults below. What was written is read back
// byte for byte from wherever it is; only what was damaged on disk may be missing, and nothing
// ever comes back with other bytes.
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>

#include "gtest/gtest.h"

#include "tests/fault/faulty_disk.h"
#include "tests/model/seed.h"
#include "tests/unit/cacheserver/memory_disk.h"
#include "tests/unit/storage/tier_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint32_t kTexts = 40;
constexpr uint64_t kUpperBlocks = 24;
constexpr uint64_t kLowerBlocks = 48;

class TiersWorld {
 public:
  explicit TiersWorld(uint64_t seed) : random_(seed) {
    auto records = std::make_unique<cacheserver::MemoryDisk>();
    records_ = records.get();
    disk_ = std::make_unique<FaultyDisk>(std::move(records));
    lower_ = std::make_unique<MemoryOver>(kLowerBlocks, disk_.get());
    upper_ = std::make_unique<MemoryOver>(kUpperBlocks, &lower_->tier());
    EXPECT_EQ(top().PutModel(TierModel()), absl::OkStatus());
  }

  void Step() {
    const uint32_t text = 1 + Below(kTexts);
    switch (Below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return Write(text);
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        return Read(text);
      case 9:
        return Delete(text);
      case 10:
        return upper_->MakeRoom();
      case 11:
        return lower_->MakeRoom();
      case 12:
        return Squeeze(Below(2) == 0 ? *upper_ : *lower_);
      case 13:
        return FailAWrite();
      case 14:
        return Damage(text);
      default:
        return Verify(text);
    }
  }

  void Check() {
    for (MemoryOver* level : {upper_.get(), lower_.get()}) {
      level->store().With(
          [](Store& store) { ASSERT_EQ(store.CheckInvariants(), absl::OkStatus()); });
    }
    const auto headers = HeadersOf(top());
    for (const auto& [text, object] : written_) {
      const auto found = headers.find(object.header.content);
      if (found == headers.end()) {
        ASSERT_TRUE(damaged_.contains(text)) << "lost: " << text;
      } else {
        ASSERT_EQ(found->second, object.header);
      }
    }
    ASSERT_LE(headers.size(), written_.size());
  }

  // Every object, once more.
  void ReadAll() {
    for (uint32_t text = 1; text <= kTexts; ++text) Read(text);
  }
  uint64_t reads() const { return reads_; }
  uint64_t disk_reads() const { return records_->reads(); }

 private:
  MemoryTier& top() { return upper_->tier(); }
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  // The same text again is the same object, or another computation of it.
  void Write(uint32_t text) {
    TestObject object = TierSegment(text, 1 + text * 37 % 128);
    const bool rotated = Below(8) == 0;
    if (rotated) {
      object.header.encoding = base::RotaryEncoding::kRotated;
      object.bytes = PatternBytes(1000 + text, object.bytes.size());
    }
    ASSERT_EQ(WriteOne(top(), object), absl::OkStatus());
    const auto before = written_.find(text);
    // The same header may be kept as it is, and what is kept may be damaged.
    if (before == written_.end() || before->second.header != object.header) damaged_.erase(text);
    written_.insert_or_assign(text, std::move(object));
  }

  void Read(uint32_t text) {
    const auto object = written_.find(text);
    if (object == written_.end()) {
      ASSERT_EQ(CheckReadBack(top(), TierSegment(text, 1 + text * 37 % 128)).code(),
                absl::StatusCode::kNotFound);
      return;
    }
    if (Below(4) == 0) disk_->FailReads(absl::UnavailableError("I/O error"), 1);
    absl::Status read = CheckReadBack(top(), object->second);
    disk_->FailReads(absl::OkStatus());
    if (absl::IsUnavailable(read)) read = CheckReadBack(top(), object->second);
    ++reads_;
    const bool lost = absl::IsDataLoss(read) || absl::IsNotFound(read);
    if (lost && damaged_.contains(text)) {
      ASSERT_EQ(top().Delete({object->second.key()}), absl::OkStatus());  // as a store would
      written_.erase(object);
      damaged_.erase(text);
      return;
    }
    ASSERT_EQ(read, absl::OkStatus()) << text;
  }

  void Delete(uint32_t text) {
    const RecordKey key = TierSegment(text, 1 + text * 37 % 128).key();
    ASSERT_EQ(top().Delete({key}), absl::OkStatus());
    ASSERT_EQ(top().Verify(key).code(), absl::StatusCode::kNotFound);
    written_.erase(text);
    damaged_.erase(text);
  }

  // A reservation of some of a level's memory, then its end: the cheapest that may go have gone.
  void Squeeze(MemoryOver& level) {
    const uint64_t bytes = (1 + Below(kUpperBlocks)) * kTierBlock;
    level.store().With([&](Store& store) {
      ASSERT_TRUE(store.Reserve(77, TestBlob(999, bytes), absl::Now()).ok());
      store.CloseSession(77);
    });
  }

  // Once, and then it goes through: three in a row would be a reason to let the object go.
  void FailAWrite() {
    disk_->FailWrites(absl::UnavailableError("I/O error"), 1);
    lower_->MakeRoom();
    disk_->FailWrites(absl::OkStatus());
    lower_->Flush();
  }

  void Damage(uint32_t text) {
    const auto object = written_.find(text);
    if (object == written_.end() || Below(4) != 0) return;
    if (!records_->Verify(object->second.key()).ok()) return;
    records_->Damage(object->second.header);
    damaged_.insert(text);
  }

  void Verify(uint32_t text) {
    const auto object = written_.find(text);
    const RecordKey key = TierSegment(text, 1 + text * 37 % 128).key();
    const absl::Status status = top().Verify(key);
    if (object == written_.end()) {
      ASSERT_EQ(status.code(), absl::StatusCode::kNotFound);
    } else if (!damaged_.contains(text)) {
      ASSERT_EQ(status, absl::OkStatus());
    }
  }

  std::mt19937_64 random_;
  cacheserver::MemoryDisk* records_ = nullptr;
  std::unique_ptr<FaultyDisk> disk_;
  std::unique_ptr<MemoryOver> lower_;
  std::unique_ptr<MemoryOver> upper_;
  std::map<uint32_t, TestObject> written_;
  std::set<uint32_t> damaged_;  // on disk, at some time since they were written
  uint64_t reads_ = 0;
};

TEST(TiersModelTest, WhatWasWrittenComesBackFromWhereverItIs) {
  const uint64_t seed = model_test::GivenSeed().value_or(20250101);
  const uint64_t steps = model_test::StepsOr(20000);
  SCOPED_TRACE(testing::Message() << "--seed=" << seed);
  TiersWorld world(seed);
  for (uint64_t step = 0; step < steps; ++step) {
    world.Step();
    if (step % 16 == 0) world.Check();
    ASSERT_FALSE(testing::Test::HasFailure()) << "step " << step;
  }
  world.ReadAll();
  EXPECT_GT(world.reads(), steps / 8);
  EXPECT_GT(world.disk_reads(), steps / 100);
}

}  // namespace
}  // namespace cistern::storage
