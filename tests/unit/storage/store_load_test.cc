// Records of the disk that a store learns of while it serves.
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

class StoreLoadTest : public StoreTest {
 protected:
  StoreLoadTest() : StoreTest({.variants_per_content = 2, .has_disk = true}) {}

  ObjectView Look(const base::ObjectHeader& header) {
    return store_->Find({.content = header.content, .context = header.context}).object;
  }
  base::ObjectHeader Rough(base::ObjectHeader header) {
    header.lineage = base::Lineage::kApproximate;
    return header;
  }
  // Takes the one demotion there is.
  Demotion TakeDemotion() {
    auto demotions = store_->TakeDemotions(1, false);
    EXPECT_EQ(demotions.size(), 1u);
    return demotions.empty() ? Demotion{} : demotions[0];
  }
};

TEST_F(StoreLoadTest, TheSameObjectInMemoryIsSavedAlready) {
  const base::ObjectHeader header = Segment(1);
  const ObjectId id = Put(header);
  ASSERT_EQ(store_->AddDiskRecord(header, now_), absl::OkStatus());
  EXPECT_EQ(Look(header).id, id);
  EXPECT_TRUE(Look(header).on_disk);
  EXPECT_EQ(store_->Stats().dirty_bytes, 0u);
  EXPECT_TRUE(store_->TakeDemotions(1 << 20, false).empty()) << "written twice";
  EXPECT_TRUE(store_->TakeRecordDrops().empty());
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)));
}

// Its record comes while the same object is written again: it is the new one's.
TEST_F(StoreLoadTest, TheRecordOfWhatIsWrittenAgainStays) {
  store_->ExpectRecords(true);
  const base::ObjectHeader header = Segment(1);
  const Reservation again = Reserve(header);
  ASSERT_EQ(store_->AddDiskRecord(header, now_), absl::OkStatus());
  EXPECT_TRUE(store_->MarkWritten(kSession, again.id, 0, model_.num_layers).ok());
  EXPECT_TRUE(store_->Commit(kSession, again.id, now_).ok());
  EXPECT_TRUE(Look(header).on_disk);
  EXPECT_THAT(store_->TakeRecordDrops(), testing::IsEmpty());
}

// An exact object in memory is worth more than the approximate record of its name.
TEST_F(StoreLoadTest, AWorseRecordGoes) {
  const base::ObjectHeader header = Segment(1);
  const ObjectId id = Put(header);
  EXPECT_TRUE(absl::IsAlreadyExists(store_->AddDiskRecord(Rough(header), now_)));
  EXPECT_EQ(Look(header).id, id);
  EXPECT_FALSE(Look(header).on_disk);
  EXPECT_TRUE(store_->TakeDemotions(1 << 20, false).empty()) << "before the old one is deleted";
  ASSERT_THAT(store_->TakeRecordDrops(),
              testing::ElementsAre(RecordKey{header.content, header.context}));
  EXPECT_EQ(TakeDemotion().id, id);
  store_->FinishDemotion(id, absl::OkStatus());
}

TEST_F(StoreLoadTest, AnExactRecordTakesThePlaceOfAnApproximateObject) {
  const base::ObjectHeader header = Segment(1);
  const ObjectId id = Put(Rough(header));
  const base::Key other = base::HashBytes("elsewhere");
  ASSERT_EQ(store_->Link(id, other, base::Key{}), absl::OkStatus());
  const Lease lease = MustAcquire(id);
  ASSERT_EQ(store_->AddDiskRecord(header, now_), absl::OkStatus());
  EXPECT_EQ(Look(header).where, Where::kDisk);
  EXPECT_EQ(Look(header).header->lineage(), base::Lineage::kExact);
  EXPECT_EQ(store_->ByContext(other, false).object.id, Look(header).id) << "the link is lost";
  EXPECT_TRUE(HoldsBytesOf(header, lease.blocks)) << "still being read";
  EXPECT_EQ(store_->Release(kSession, lease.id), absl::OkStatus());
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
  EXPECT_TRUE(store_->TakeRecordDrops().empty()) << "the record is in use";
}

// The store above reads what it has written here by the header that it has written.
TEST_F(StoreLoadTest, BelowAnotherStoreNothingTakesAnObjectsPlace) {
  options_.serves_above = true;
  Reset(options_);
  const base::ObjectHeader header = Segment(1), other = Segment(2);
  const ObjectId id = Put(Rough(header));
  EXPECT_TRUE(absl::IsAlreadyExists(store_->AddDiskRecord(header, now_)));
  EXPECT_EQ(Look(header).id, id);
  const Reservation reservation = Reserve(Rough(other));
  ASSERT_EQ(store_->AddDiskRecord(other, now_), absl::OkStatus());
  ASSERT_EQ(store_->MarkWritten(kSession, reservation.id, 0, 2), absl::OkStatus());
  ASSERT_TRUE(store_->Commit(kSession, reservation.id, now_).ok());
  EXPECT_EQ(Look(other).header->lineage(), base::Lineage::kApproximate);
  EXPECT_EQ(store_->TakeRecordDrops().size(), 2u);
}

// Between TakeDemotions and FinishDemotion the record is about to become another one.
TEST_F(StoreLoadTest, ARecordThatIsBeingReplacedIsNotTaken) {
  const base::ObjectHeader header = Segment(1);
  const ObjectId id = Put(Rough(header));
  EXPECT_EQ(TakeDemotion().id, id);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)));
  EXPECT_EQ(store_->Evict({.key = header.content}), 1u);  // goes when the disk is done with it
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)));
  store_->FinishDemotion(id, absl::OkStatus());
  EXPECT_EQ(WhereIs(header), Where::kMiss);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)))
      << "it is about to be deleted";
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
}

// The record is come to between Reserve and Commit: the rows in memory are of the same object.
TEST_F(StoreLoadTest, ACommitMeetsItsOwnRecord) {
  const base::ObjectHeader header = Segment(1);
  const Reservation reservation = Reserve(header);
  ASSERT_EQ(store_->AddDiskRecord(header, now_), absl::OkStatus());
  EXPECT_EQ(WhereIs(header), Where::kDisk);
  FillBlocks(*arena_, reservation.blocks, kPage, header.content.lo ^ header.context.lo);
  ASSERT_EQ(store_->MarkWritten(kSession, reservation.id, 0, 2), absl::OkStatus());
  const auto id = store_->Commit(kSession, reservation.id, now_);
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(Look(header).id, *id);
  EXPECT_EQ(Look(header).where, Where::kMemory);
  EXPECT_TRUE(Look(header).on_disk);
  EXPECT_TRUE(store_->TakeRecordDrops().empty());
  EXPECT_EQ(store_->Stats().objects_disk, 1u);
}

// ... and if the record is exact and the rows are not, they are given up for it.
TEST_F(StoreLoadTest, ACommitYieldsToABetterRecord) {
  const base::ObjectHeader header = Segment(1);
  const Reservation reservation = Reserve(Rough(header));
  ASSERT_EQ(store_->AddDiskRecord(header, now_), absl::OkStatus());
  ASSERT_EQ(store_->MarkWritten(kSession, reservation.id, 0, 2), absl::OkStatus());
  const auto id = store_->Commit(kSession, reservation.id, now_);
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(Look(header).id, *id);
  EXPECT_EQ(Look(header).header->lineage(), base::Lineage::kExact);
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
  EXPECT_EQ(store_->Stats().reservations, 0u);
}

// One too many of a content: what has just been found on disk is worth less than what is used.
TEST_F(StoreLoadTest, ALoadedVariantPushesNobodyOutOfMemory) {
  const base::ObjectHeader first = Segment(1, 1), second = Segment(1, 2), third = Segment(1, 3);
  Put(first);
  Put(second);
  ASSERT_EQ(store_->AddDiskRecord(third, now_), absl::OkStatus());
  EXPECT_EQ(WhereIs(first), Where::kMemory);
  EXPECT_EQ(WhereIs(second), Where::kMemory);
  EXPECT_EQ(WhereIs(third), Where::kMiss);
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
}

// Dropped before its old record is come to: that one must not bring it back.
TEST_F(StoreLoadTest, WhatIsDroppedWhileRecordsMayComeIsDeletedBelow) {
  const base::ObjectHeader header = Segment(1);
  const auto key = RecordKey{header.content, header.context};
  store_->ExpectRecords(true);
  Put(header);
  EXPECT_EQ(store_->Evict({.key = header.content}), 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)));
  EXPECT_EQ(WhereIs(header), Where::kMiss);
  EXPECT_THAT(store_->TakeRecordDrops(), testing::ElementsAre(key));
  // The record that takes an object's place is not one of these.
  Put(Rough(header));
  ASSERT_EQ(store_->AddDiskRecord(header, now_), absl::OkStatus());
  EXPECT_EQ(WhereIs(header), Where::kDisk);
  EXPECT_TRUE(store_->TakeRecordDrops().empty());
  store_->ExpectRecords(false);
  Put(Segment(2));
  EXPECT_EQ(store_->Evict({.key = Segment(2).content}), 1u);
  EXPECT_TRUE(store_->TakeRecordDrops().empty()) << "there is none";
}

// Nobody would ever be told of it again.
TEST_F(StoreLoadTest, ARecordRefusedForAWriteThatFailsIsDeleted) {
  const base::ObjectHeader header = Segment(1);
  const ObjectId id = Put(Rough(header));
  EXPECT_EQ(TakeDemotion().id, id);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->AddDiskRecord(header, now_)));
  store_->FinishDemotion(id, absl::UnavailableError("a cable"));
  EXPECT_THAT(store_->TakeRecordDrops(),
              testing::ElementsAre(RecordKey{header.content, header.context}));
  EXPECT_EQ(Look(header).id, id);
  // Dropped while it was written, and its record has not come yet.
  store_->ExpectRecords(true);
  EXPECT_TRUE(store_->TakeDemotions(1, false).empty()) << "set aside until nothing else is left";
  EXPECT_EQ(TakeDemotion().id, id);
  EXPECT_EQ(store_->Evict({.key = header.content}), 1u);
  EXPECT_TRUE(store_->TakeRecordDrops().empty()) << "it is being written";
  store_->FinishDemotion(id, absl::UnavailableError("a cable"));
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
  EXPECT_EQ(WhereIs(header), Where::kMiss);
}

}  // namespace
}  // namespace cistern::storage
