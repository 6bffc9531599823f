// Memory as a tier: what is copied and what is not, waiting for room, and what a tier below that
// fails does to it.
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "tests/fault/faulty_disk.h"
#include "tests/unit/cacheserver/memory_disk.h"
#include "tests/unit/storage/tier_fixture.h"

namespace cistern::storage {
namespace {

class MemoryTierTest : public testing::Test {
 protected:
  MemoryTierTest() {
    auto memory_disk = std::make_unique<cacheserver::MemoryDisk>();
    records_ = memory_disk.get();
    disk_ = std::make_unique<FaultyDisk>(std::move(memory_disk));
  }
  void Make(uint64_t blocks, absl::Duration patience = absl::Seconds(30)) {
    memory_ = std::make_unique<MemoryOver>(blocks, disk_.get(), patience);
    ASSERT_EQ(tier().PutModel(TierModel()), absl::OkStatus());
  }
  MemoryTier& tier() { return memory_->tier(); }

  cacheserver::MemoryDisk* records_ = nullptr;
  std::unique_ptr<FaultyDisk> disk_;
  std::unique_ptr<MemoryOver> memory_;
};

TEST_F(MemoryTierTest, WhatIsThereIsNotCopiedAgain) {
  Make(64);
  const TestObject object = TierSegment(1, 40);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  EXPECT_EQ(tier().Stats().copied_in, 1u);
  EXPECT_EQ(tier().Stats().copied_in_bytes, object.bytes.size());
  EXPECT_EQ(tier().Stats().already_there, 2u);
  memory_->Flush();
  memory_->Empty();
  ASSERT_FALSE(tier().InMemory(object.key()));
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus()) << "also what is only on disk is there";
  EXPECT_EQ(tier().Stats().copied_in, 1u);
  EXPECT_EQ(records_->Stats().writes, 1u);
}

TEST_F(MemoryTierTest, WhatLiesBelowIsStagedOnceAndStays) {
  Make(64);
  const TestObject object = TierSegment(1, 40);
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  memory_->Flush();
  memory_->Empty();
  ASSERT_FALSE(tier().InMemory(object.key()));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  EXPECT_TRUE(tier().InMemory(object.key()));
  EXPECT_EQ(records_->reads(), 1u);
  EXPECT_EQ(tier().Stats().staged, 1u);
  EXPECT_EQ(tier().Stats().copied_out, 3u);
}

// All of memory is dirty: nothing may go, and the disk need not be waited for.
TEST_F(MemoryTierTest, AReadWithoutRoomGoesPastThisMemory) {
  Make(8);
  const TestObject object = TierSegment(1, 64);
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  memory_->Flush();
  memory_->Empty();
  const TestObject dirty = TierSegment(2, 128);
  ASSERT_EQ(WriteOne(tier(), dirty), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  EXPECT_FALSE(tier().InMemory(object.key()));
  EXPECT_EQ(tier().Stats().read_through, 1u);
  EXPECT_EQ(CheckReadBack(tier(), dirty), absl::OkStatus());
}

TEST_F(MemoryTierTest, FullOfDirtyObjectsItHasThemWrittenBelowAndLosesNothing) {
  Make(16);
  std::vector<TestObject> objects;
  for (uint32_t i = 1; i <= 40; ++i) objects.push_back(TierSegment(i, 48));
  for (const TestObject& object : objects) ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  EXPECT_GT(tier().Stats().waits, 0u);
  EXPECT_EQ(tier().Stats().refused, 0u);
  for (const TestObject& object : objects)
    EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
  EXPECT_EQ(tier().Stats().copied_in, objects.size());
}

// A disk that does not answer: the write waits for its patience, says that it has waited, and goes
// through once the disk is back.
TEST_F(MemoryTierTest, WaitingForASlowDiskIsBoundedAndNothingIsLost) {
  Make(4, absl::Milliseconds(200));
  const TestObject first = TierSegment(1, 64), second = TierSegment(2, 64);
  ASSERT_EQ(WriteOne(tier(), first), absl::OkStatus());
  disk_->Block();
  std::thread demoter([&] { memory_->MakeRoom(); });
  disk_->AwaitBlocked(1);
  EXPECT_EQ(WriteOne(tier(), second).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(tier().Stats().refused, 1u);
  EXPECT_EQ(CheckReadBack(tier(), first), absl::OkStatus()) << "reads do not wait for the disk";
  disk_->Release();
  demoter.join();
  EXPECT_EQ(WriteOne(tier(), second), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), first), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), second), absl::OkStatus());
}

TEST_F(MemoryTierTest, ADiskThatRefusesForAWhileMakesWritesWaitAndDoesNotExhaustThem) {
  Make(4, absl::Milliseconds(50));
  const TestObject first = TierSegment(1, 64), second = TierSegment(2, 64);
  ASSERT_EQ(WriteOne(tier(), first), absl::OkStatus());
  disk_->FailWrites(absl::UnavailableError("busy"), 1);
  // As long as a reader holds it, not even a working disk makes room.
  const LeaseId lease = memory_->store().With([&](Store& store) {
    const ObjectId id = store.Find({first.header.content, first.header.context}).object.id;
    return store.Acquire(5, id, absl::Now())->id;
  });
  EXPECT_EQ(WriteOne(tier(), second).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(tier().Stats().refused, 1u);
  memory_->store().With([&](Store& store) { EXPECT_TRUE(store.Release(5, lease).ok()); });
  EXPECT_EQ(WriteOne(tier(), second), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), first), absl::OkStatus());
}

TEST_F(MemoryTierTest, StopWaitingEndsWaitsAtOnce) {
  Make(4, absl::Hours(1));
  const TestObject first = TierSegment(1, 64), second = TierSegment(2, 64);
  ASSERT_EQ(WriteOne(tier(), first), absl::OkStatus());
  disk_->FailWrites(absl::UnavailableError("gone"));
  absl::Status refused;
  std::thread writer([&] { refused = WriteOne(tier(), second); });
  while (tier().Stats().waits == 0) std::this_thread::yield();
  tier().StopWaiting();
  writer.join();
  // The third failure in a row would have let the first object go: either way nobody hangs.
  EXPECT_TRUE(refused.ok() || absl::IsDeadlineExceeded(refused)) << refused;
}

TEST_F(MemoryTierTest, AnObjectLargerThanThisMemoryIsRefusedForGood) {
  Make(4);
  EXPECT_EQ(WriteOne(tier(), TierSegment(1, 65)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(tier().Stats().waits, 0u);
}

TEST_F(MemoryTierTest, AnUnknownModelIsToldSo) {
  Make(4);
  base::ModelSpec other = TierModel();
  other.revision = "other";
  TestObject object = TierSegment(1);
  object.header.model = other.Fingerprint();
  EXPECT_EQ(WriteOne(tier(), object).code(), absl::StatusCode::kFailedPrecondition);
}

// A damaged record, and one that cannot be read just now.
TEST_F(MemoryTierTest, AFailedReadBelowDropsOnlyThatObject) {
  Make(64);
  const TestObject damaged = TierSegment(1, 40), sound = TierSegment(2, 40);
  ASSERT_EQ(WriteOne(tier(), damaged), absl::OkStatus());
  ASSERT_EQ(WriteOne(tier(), sound), absl::OkStatus());
  memory_->Flush();
  memory_->Empty();
  records_->Damage(damaged.header);
  EXPECT_EQ(CheckReadBack(tier(), damaged).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckReadBack(tier(), damaged).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(records_->records(), 1u) << "its record is deleted";

  disk_->FailReads(absl::UnavailableError("I/O error"), 1);
  EXPECT_EQ(CheckReadBack(tier(), sound).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CheckReadBack(tier(), sound), absl::OkStatus());
  ASSERT_EQ(WriteOne(tier(), damaged), absl::OkStatus()) << "it may come back";
  EXPECT_EQ(CheckReadBack(tier(), damaged), absl::OkStatus());
}

TEST_F(MemoryTierTest, AFailedReadPastThisMemoryDropsOnlyThatObject) {
  Make(8);
  const TestObject damaged = TierSegment(1, 64), dirty = TierSegment(2, 128);
  ASSERT_EQ(WriteOne(tier(), damaged), absl::OkStatus());
  memory_->Flush();
  memory_->Empty();
  ASSERT_EQ(WriteOne(tier(), dirty), absl::OkStatus());
  records_->Damage(damaged.header);
  EXPECT_EQ(CheckReadBack(tier(), damaged).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckReadBack(tier(), damaged).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(records_->records(), 0u);
  EXPECT_EQ(CheckReadBack(tier(), dirty), absl::OkStatus());
}

// Deleted while somebody reads it: found no more at once, gone when the reader lets go, and only
// then written anew.
TEST_F(MemoryTierTest, ADeletedObjectThatIsHeldIsFoundNoMore) {
  Make(64, absl::Milliseconds(50));
  const TestObject object = TierSegment(1, 40);
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  const LeaseId lease = memory_->store().With([&](Store& store) {
    const ObjectId id = store.Find({object.header.content, object.header.context}).object.id;
    return store.Acquire(5, id, absl::Now())->id;
  });
  ASSERT_EQ(tier().Delete({object.key()}), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), object).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(HeadersOf(tier()).empty());
  EXPECT_EQ(WriteOne(tier(), object).code(), absl::StatusCode::kDeadlineExceeded);
  memory_->store().With([&](Store& store) { EXPECT_TRUE(store.Release(5, lease).ok()); });
  EXPECT_EQ(WriteOne(tier(), object), absl::OkStatus());
  EXPECT_EQ(tier().Stats().copied_in, 2u);
  EXPECT_EQ(CheckReadBack(tier(), object), absl::OkStatus());
}

TEST_F(MemoryTierTest, DeleteTakesPinnedObjectsAndTheirRecordsToo) {
  Make(64);
  const TestObject object = TierSegment(1, 40);
  ASSERT_EQ(WriteOne(tier(), object), absl::OkStatus());
  memory_->Flush();
  memory_->store().With([&](Store& store) { store.SetPinned({.all = true}, true); });
  ASSERT_EQ(tier().Delete({object.key()}), absl::OkStatus());
  EXPECT_EQ(CheckReadBack(tier(), object).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(records_->records(), 0u);
}

// Verify: whichever of memory and record is wrong is used no more; the other one serves.
TEST_F(MemoryTierTest, VerifyRepairsWhatIsWrong) {
  Make(64);
  const TestObject bad_record = TierSegment(1, 40), bad_memory = TierSegment(2, 40),
                   lost = TierSegment(3, 40);
  for (const TestObject* object : {&bad_record, &bad_memory, &lost})
    ASSERT_EQ(WriteOne(tier(), *object), absl::OkStatus());
  memory_->Flush();
  for (const TestObject* object : {&bad_record, &bad_memory, &lost})
    EXPECT_EQ(tier().Verify(object->key()), absl::OkStatus());

  records_->Damage(bad_record.header);
  EXPECT_EQ(tier().Verify(bad_record.key()).code(), absl::StatusCode::kUnavailable);
  memory_->Flush();  // memory's bytes are written anew
  EXPECT_EQ(tier().Verify(bad_record.key()), absl::OkStatus());

  memory_->store().With([&](Store& store) {
    const ObjectId id =
        store.Find({bad_memory.header.content, bad_memory.header.context}).object.id;
    const auto lease = store.Acquire(5, id, absl::Now());
    *memory_->arena().At(lease->blocks.at(1).offset) ^= std::byte{1};
    EXPECT_TRUE(store.Release(5, lease->id).ok());
  });
  EXPECT_EQ(tier().Verify(bad_memory.key()).code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(tier().InMemory(bad_memory.key()));
  EXPECT_EQ(CheckReadBack(tier(), bad_memory), absl::OkStatus());

  memory_->Empty();
  records_->Damage(lost.header);
  EXPECT_EQ(tier().Verify(lost.key()).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(tier().Verify(lost.key()).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace cistern::storage
