// The store above a disk: what must be written, what may go, and what comes back.
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

using Outcome = Reservation::Outcome;

class StoreDemotionTest : public StoreTest {
 protected:
  StoreDemotionTest() : StoreTest({.has_disk = true, .blob_block_bytes = kPage}) {}

  std::vector<Demotion> TakeAll() { return store_->TakeDemotions(UINT64_MAX, false); }
  void DemoteAll() {
    for (const Demotion& demotion : TakeAll())
      store_->FinishDemotion(demotion.id, absl::OkStatus());
  }
  ObjectId IdOf(const base::ObjectHeader& header) {
    return store_->Find({.content = header.content, .context = header.context}).object.id;
  }
  // Puts it, writes it to disk and pushes it out of memory.
  ObjectId PutOnDisk(const base::ObjectHeader& header) {
    const ObjectId id = Put(header);
    DemoteAll();
    const Reservation all = Reserve(Segment(999, 0, 16));
    EXPECT_EQ(all.outcome, Outcome::kReserved);
    EXPECT_TRUE(store_->Abort(kSession, all.id).ok());
    EXPECT_EQ(WhereIs(header), Where::kDisk);
    return id;
  }
};

TEST_F(StoreDemotionTest, WhatIsOnNoDiskIsNotDropped) {
  Put(Segment(1, 0, 16));
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kNoRoom);
  const std::vector<Demotion> demotions = TakeAll();
  ASSERT_EQ(demotions.size(), 1u);
  EXPECT_EQ(demotions[0].header, Segment(1, 0, 16));
  EXPECT_EQ(demotions[0].payload_bytes, 16 * kPage);
  EXPECT_TRUE(HoldsBytesOf(Segment(1, 0, 16), demotions[0].blocks));
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kNoRoom) << "pinned while it is written";
  EXPECT_EQ(TakeAll().size(), 0u) << "and taken once";
  MustAcquire(demotions[0].id);
  store_->CloseSession(kSession);
  store_->FinishDemotion(demotions[0].id, absl::OkStatus());
  EXPECT_EQ(WhereIs(Segment(1, 0, 16)), Where::kMemory) << "in both tiers";
  EXPECT_EQ(store_->Stats().dirty_bytes, 0u);
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kReserved);
  EXPECT_EQ(WhereIs(Segment(1, 0, 16)), Where::kDisk);
  const StoreStats stats = store_->Stats();
  EXPECT_EQ(stats.demoted_objects, 1u);
  EXPECT_EQ(stats.demoted_bytes, 16 * kPage);
  EXPECT_EQ(stats.evicted_objects, 1u);
  EXPECT_EQ(stats.dropped_objects, 0u);
  EXPECT_EQ(stats.objects_disk, 1u);
}

TEST_F(StoreDemotionTest, CheapestFirstWithinABudget) {
  for (uint32_t text = 1; text <= 3; ++text) Put(Segment(text, 0, 2));
  ASSERT_TRUE(store_->Release(kSession, MustAcquire(IdOf(Segment(1, 0, 2))).id).ok());
  const auto first = store_->TakeDemotions(1, false);
  ASSERT_EQ(first.size(), 1u) << "one at least";
  EXPECT_EQ(first[0].header, Segment(2, 0, 2));
  const auto rest = store_->TakeDemotions(4 * kPage, false);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[1].header, Segment(1, 0, 2)) << "the one that was used goes last";
}

TEST_F(StoreDemotionTest, WatermarksStartAndStopIt) {
  for (uint32_t text = 1; text <= 14; ++text) Put(Segment(text));
  EXPECT_EQ(store_->TakeDemotions(UINT64_MAX, true).size(), 0u) << "14 of 16 pages: 0.875";
  Put(Segment(15));
  EXPECT_EQ(store_->TakeDemotions(2 * kPage, true).size(), 2u) << "above 0.90";
  EXPECT_EQ(store_->TakeDemotions(UINT64_MAX, true).size(), 1u)
      << "on until below 0.80, those on their way counted";
  EXPECT_EQ(store_->TakeDemotions(UINT64_MAX, true).size(), 0u);
  Put(Segment(16));
  EXPECT_EQ(store_->TakeDemotions(UINT64_MAX, true).size(), 0u) << "not before the high mark again";
}

TEST_F(StoreDemotionTest, AFailedWriteIsTriedAgainAfterTheOthers) {
  const ObjectId first = Put(Segment(1));
  Put(Segment(2));
  ASSERT_EQ(store_->TakeDemotions(1, false)[0].id, first);
  store_->FinishDemotion(first, absl::UnavailableError("I/O error"));
  EXPECT_EQ(store_->Stats().demotion_failures, 1u);
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMemory);
  ASSERT_EQ(TakeAll().size(), 1u) << "the other one only";
  EXPECT_EQ(TakeAll().size(), 0u) << "a loop until nothing is left ends";
  ASSERT_EQ(TakeAll().size(), 1u) << "and the next one tries again";
  store_->FinishDemotion(first, absl::OkStatus());
  EXPECT_EQ(store_->Stats().objects_disk, 1u);
}

TEST_F(StoreDemotionTest, AnErrorDoesNotMakeItDroppable) {
  const ObjectId id = Put(Segment(1, 0, 16));
  TakeAll();
  store_->FinishDemotion(id, absl::UnavailableError("I/O error"));
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kNoRoom);
  EXPECT_EQ(WhereIs(Segment(1, 0, 16)), Where::kMemory);
}

// A disk that fails for any reason must not fill the memory with what nobody may replace.
TEST_F(StoreDemotionTest, TheThirdErrorInARowDoes) {
  const ObjectId id = Put(Segment(1, 0, 16));
  for (int failure = 0; failure < 3; ++failure) {
    EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kNoRoom);
    while (TakeAll().empty()) {
    }
    store_->FinishDemotion(id, absl::UnavailableError("read-only file system"));
  }
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kReserved);
}

TEST_F(StoreDemotionTest, WhatTheDiskWillNeverTakeIsDroppableAtOnce) {
  const ObjectId id = Put(Segment(1, 0, 16));
  TakeAll();
  store_->FinishDemotion(id, absl::InvalidArgumentError("too large for a record"));
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kReserved);
}

TEST_F(StoreDemotionTest, WhenTheDiskIsFullMemoryGoesOnWithoutIt) {
  const ObjectId id = Put(Segment(1, 0, 16));
  TakeAll();
  store_->FinishDemotion(id, absl::ResourceExhaustedError("disk full"));
  EXPECT_EQ(WhereIs(Segment(1, 0, 16)), Where::kMemory) << "it stays as long as there is room";
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kReserved);
  EXPECT_EQ(WhereIs(Segment(1, 0, 16)), Where::kMiss);
  EXPECT_TRUE(store_->TakeRecordDrops().empty());
  EXPECT_EQ(store_->Stats().dropped_objects, 1u);
}

TEST_F(StoreDemotionTest, StagingBringsItBack) {
  const base::ObjectHeader header = Segment(1, 0, 3);
  const ObjectId id = PutOnDisk(header);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Acquire(kSession, id, now_).status()));
  const Staging staging = store_->BeginStage(id, now_);
  ASSERT_EQ(staging.outcome, Staging::Outcome::kBegun);
  EXPECT_EQ(staging.header, header);
  EXPECT_EQ(staging.blocks.size(), 3u);
  EXPECT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kInProgress);
  EXPECT_EQ(WhereIs(header), Where::kDisk);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Acquire(kSession, id, now_).status()))
      << "not before it is read";
  EXPECT_EQ(Reserve(Segment(2, 0, 14)).outcome, Outcome::kNoRoom) << "its blocks are held";
  FillBlocks(*arena_, staging.blocks, kPage, header.content.lo ^ header.context.lo);
  store_->FinishStage(id, absl::OkStatus());
  EXPECT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kInMemory);
  EXPECT_TRUE(HoldsBytesOf(header, MustAcquire(id).blocks));
  EXPECT_EQ(store_->Stats().staged_objects, 1u);
  EXPECT_EQ(store_->Stats().staged_bytes, 3 * kPage);
  EXPECT_TRUE(TakeAll().empty()) << "it is clean";
}

TEST_F(StoreDemotionTest, ACorruptRecordIsDropped) {
  const base::ObjectHeader header = Segment(1);
  const ObjectId id = PutOnDisk(header);
  ASSERT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
  store_->FinishStage(id, absl::DataLossError("checksum"));
  EXPECT_EQ(WhereIs(header), Where::kMiss);
  EXPECT_EQ(store_->Stats().corrupt_records, 1u);
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
  EXPECT_EQ(store_->TakeRecordDrops(), std::vector<RecordKey>({{header.content, header.context}}));
  EXPECT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kGone);
}

TEST_F(StoreDemotionTest, ARecordThatIsNotThereIsDroppedToo) {
  const ObjectId id = PutOnDisk(Segment(1));
  ASSERT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
  store_->FinishStage(id, absl::NotFoundError("no record"));
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMiss);
  EXPECT_EQ(store_->Stats().corrupt_records, 0u);
}

TEST_F(StoreDemotionTest, AnotherReadErrorLeavesItOnDisk) {
  const ObjectId id = PutOnDisk(Segment(1));
  ASSERT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
  store_->FinishStage(id, absl::UnavailableError("I/O error"));
  EXPECT_EQ(WhereIs(Segment(1)), Where::kDisk);
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
  EXPECT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
}

// As long as it is found, nobody publishes it again.
TEST_F(StoreDemotionTest, TheThirdReadErrorInARowDropsIt) {
  const ObjectId id = PutOnDisk(Segment(1));
  for (int failure = 0; failure < 3; ++failure) {
    ASSERT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
    store_->FinishStage(id, absl::UnavailableError("I/O error"));
  }
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMiss);
  EXPECT_EQ(Reserve(Segment(1)).outcome, Outcome::kReserved);
}

TEST_F(StoreDemotionTest, ADamagedRecordOfWhatIsInMemoryIsWrittenAgain) {
  const ObjectId id = PutOnDisk(Segment(1));
  ASSERT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
  store_->FinishStage(id, absl::OkStatus());
  ASSERT_TRUE(TakeAll().empty());
  store_->ForgetRecord(id);
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMemory);
  EXPECT_TRUE(TakeAll().empty()) << "the damaged record goes first";
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
  EXPECT_EQ(TakeAll().size(), 1u);
  store_->FinishDemotion(id, absl::OkStatus());
  const ObjectId other = PutOnDisk(Segment(2));
  store_->ForgetRecord(other);
  EXPECT_EQ(WhereIs(Segment(2)), Where::kMiss) << "it is nowhere else";
}

// What nobody has tried to read is no worse than before: too many reads, or an end of the node.
TEST_F(StoreDemotionTest, AReadThatNeverBeganDropsNothing) {
  const ObjectId id = PutOnDisk(Segment(1));
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
    store_->FinishStage(id, i % 2 == 0 ? absl::ResourceExhaustedError("too many reads wait")
                                       : absl::CancelledError("the node is stopping"));
    EXPECT_EQ(WhereIs(Segment(1)), Where::kDisk);
  }
}

TEST_F(StoreDemotionTest, StagingNeedsRoom) {
  const ObjectId id = PutOnDisk(Segment(1));
  const Reservation all = Reserve(Segment(2, 0, 16));
  EXPECT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kNoRoom);
  EXPECT_EQ(store_->Stats().no_room, 1u);
  ASSERT_TRUE(store_->Abort(kSession, all.id).ok());
  EXPECT_EQ(store_->BeginStage(id, now_).outcome, Staging::Outcome::kBegun);
}

TEST_F(StoreDemotionTest, ARestartFindsWhatWasOnDisk) {
  ASSERT_TRUE(store_->AddDiskRecord(Segment(1, 1, 2), now_).ok());
  EXPECT_EQ(WhereIs(Segment(1, 1, 2)), Where::kDisk);
  EXPECT_EQ(
      store_->Find({.content = Segment(1, 1, 2).content, .accept_content = true}).object.where,
      Where::kDisk);
  EXPECT_EQ(store_->Children(Segment(1, 1, 2).parent_context, true).size(), 1u);
  EXPECT_EQ(Reserve(Segment(1, 1, 2)).outcome, Outcome::kAlreadyHave);
  EXPECT_EQ(store_->BeginStage(IdOf(Segment(1, 1, 2)), now_).outcome, Staging::Outcome::kBegun);
}

TEST_F(StoreDemotionTest, RecordsThatCannotBe) {
  ASSERT_TRUE(store_->AddDiskRecord(Segment(1), now_).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(Segment(1), now_)))
      << "known already";
  base::ObjectHeader header = Segment(2);
  header.model = base::Key{1, 1};
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)))
      << "of no known model";
  header = Segment(3);
  header.tokens.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(store_->AddDiskRecord(header, now_)));
  Reset({.has_disk = false, .blob_block_bytes = kPage});
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(Segment(1), now_)));
  Put(Segment(1));
  EXPECT_TRUE(store_->TakeDemotions(UINT64_MAX, false).empty());
}

TEST_F(StoreDemotionTest, ARecordLargerThanTheArenaIsNotFound) {
  EXPECT_TRUE(absl::IsResourceExhausted(store_->AddDiskRecord(Segment(1, 0, 17), now_)));
  EXPECT_EQ(WhereIs(Segment(1, 0, 17)), Where::kMiss);
}

TEST_F(StoreDemotionTest, EvictionByHandReachesTheDisk) {
  PutOnDisk(Segment(1));
  EXPECT_EQ(store_->Evict({.all = true}), 1u);
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMiss);
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
  EXPECT_TRUE(store_->TakeRecordDrops().empty()) << "cleared by the call";
}

TEST_F(StoreDemotionTest, EvictionWaitsForTheDisk) {
  const ObjectId id = Put(Segment(1));
  ASSERT_EQ(TakeAll().size(), 1u);
  EXPECT_EQ(store_->Evict({.all = true}), 1u);
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMemory);
  EXPECT_TRUE(store_->TakeRecordDrops().empty());
  store_->FinishDemotion(id, absl::OkStatus());
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMiss);
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u) << "the record that was just written";
  EXPECT_EQ(store_->Stats().used_bytes, 0u);

  const ObjectId staged = PutOnDisk(Segment(2));
  ASSERT_EQ(store_->BeginStage(staged, now_).outcome, Staging::Outcome::kBegun);
  EXPECT_EQ(store_->Evict({.all = true}), 1u);
  store_->FinishStage(staged, absl::OkStatus());
  EXPECT_EQ(WhereIs(Segment(2)), Where::kMiss);
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
}

// A record of the same name must be deleted before the new one is written.
TEST_F(StoreDemotionTest, ADropIsDeliveredBeforeTheNameIsWrittenAgain) {
  PutOnDisk(Segment(1));
  store_->Evict({.all = true});
  Put(Segment(1));
  EXPECT_TRUE(TakeAll().empty()) << "the old record is not deleted yet";
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
  EXPECT_EQ(TakeAll().size(), 1u);
}

TEST_F(StoreDemotionTest, AReplacementWaitsForTheOldRecord) {
  const base::ObjectHeader rough = Segment(1, 1, 1, base::Lineage::kApproximate);
  const ObjectId old_id = Put(rough);
  ASSERT_EQ(TakeAll().size(), 1u);
  const ObjectId new_id = Put(Segment(1, 1));
  EXPECT_TRUE(TakeAll().empty()) << "the old bytes are still on their way to that name";
  EXPECT_EQ(store_->Stats().used_bytes, 2 * kPage);
  store_->FinishDemotion(old_id, absl::OkStatus());
  EXPECT_EQ(store_->Stats().used_bytes, kPage);
  EXPECT_TRUE(TakeAll().empty());
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
  const std::vector<Demotion> demotions = TakeAll();
  ASSERT_EQ(demotions.size(), 1u);
  EXPECT_EQ(demotions[0].id, new_id);
}

TEST_F(StoreDemotionTest, AReplacementDuringStaging) {
  const base::ObjectHeader rough = Segment(1, 1, 1, base::Lineage::kApproximate);
  const ObjectId old_id = PutOnDisk(rough);
  ASSERT_EQ(store_->BeginStage(old_id, now_).outcome, Staging::Outcome::kBegun);
  const ObjectId new_id = Put(Segment(1, 1));
  EXPECT_EQ(IdOf(rough), new_id);
  store_->FinishStage(old_id, absl::OkStatus());
  EXPECT_EQ(store_->Stats().used_bytes, kPage) << "nobody wants the old one any more";
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
}

TEST_F(StoreDemotionTest, FinishingWhatWasNotBegunChangesNothing) {
  const ObjectId id = Put(Segment(1));
  store_->FinishDemotion(id, absl::OkStatus());
  store_->FinishDemotion(99, absl::OkStatus());
  store_->FinishStage(id, absl::DataLossError("?"));
  store_->FinishStage(99, absl::OkStatus());
  EXPECT_EQ(store_->Stats().objects_disk, 0u);
  EXPECT_EQ(store_->BeginStage(99, now_).outcome, Staging::Outcome::kGone);
}

TEST_F(StoreDemotionTest, PinnedObjectsAreWrittenButStayInMemory) {
  Put(Segment(1, 0, 16));
  store_->SetPinned({.all = true}, true);
  DemoteAll();
  EXPECT_EQ(store_->Stats().objects_disk, 1u);
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kNoRoom);
  EXPECT_EQ(WhereIs(Segment(1, 0, 16)), Where::kMemory);
}

TEST_F(StoreDemotionTest, APinSavesWhatWasToGoOnceItIsWritten) {
  const ObjectId id = Put(Segment(1));
  const std::vector<Demotion> demotions = store_->TakeDemotions(1, false);
  ASSERT_EQ(demotions.size(), 1u);
  EXPECT_EQ(store_->Evict({.all = true}), 1u);
  EXPECT_EQ(store_->SetPinned({.all = true}, true), 1u);
  store_->FinishDemotion(id, absl::OkStatus());
  EXPECT_EQ(WhereIs(Segment(1)), Where::kMemory);
}

}  // namespace
}  // namespace cistern::storage
