// Reserve, write, commit, abort: what is visible when, and every way to do it wrong.
#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

using Outcome = Reservation::Outcome;

class StoreWriteTest : public StoreTest {};

TEST_F(StoreWriteTest, InvisibleUntilCommitted) {
  const base::ObjectHeader header = Segment(1, 0, 3);
  const Reservation reservation = Reserve(header);
  ASSERT_EQ(reservation.outcome, Outcome::kReserved);
  EXPECT_EQ(reservation.blocks.size(), 3u);
  EXPECT_EQ(WhereIs(header), Where::kMiss);
  EXPECT_EQ(store_->ReservedBlocks(kSession, reservation.id).value(), reservation.blocks);
  EXPECT_EQ(*store_->ReservedHeader(kSession, reservation.id).value(), header);
  ASSERT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, 2).ok());
  EXPECT_EQ(WhereIs(header), Where::kMiss);
  ASSERT_TRUE(store_->Commit(kSession, reservation.id, now_).ok());
  EXPECT_EQ(WhereIs(header), Where::kMemory);
  EXPECT_EQ(store_->Stats().reservations, 0u);
  EXPECT_EQ(store_->Stats().commits, 1u);
  EXPECT_EQ(store_->Stats().objects_memory, 1u);
  EXPECT_EQ(store_->Stats().used_bytes, 3 * kPage);
}

TEST_F(StoreWriteTest, TheLastPageMayBePartFull) {
  EXPECT_EQ(Reserve(TestSegment(model_, 1, 0, 17)).blocks.size(), 2u);
  EXPECT_EQ(Reserve(TestSegment(model_, 2, 0, 1)).blocks.size(), 1u);
  EXPECT_EQ(Reserve(TestBlob(1, kPage + 1)).blocks.size(), 2u);
}

TEST_F(StoreWriteTest, CommitWantsEveryLayer) {
  const Reservation reservation = Reserve(Segment(1));
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Commit(kSession, reservation.id, now_).status()));
  ASSERT_TRUE(store_->MarkWritten(kSession, reservation.id, 1, 2).ok());
  ASSERT_TRUE(store_->MarkWritten(kSession, reservation.id, 1, 2).ok()) << "again is no harm";
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Commit(kSession, reservation.id, now_).status()));
  ASSERT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, 1).ok());
  EXPECT_TRUE(store_->Commit(kSession, reservation.id, now_).ok());
}

TEST_F(StoreWriteTest, LayersOutsideTheModelAreRefused) {
  const Reservation reservation = Reserve(Segment(1));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->MarkWritten(kSession, reservation.id, 0, 3)));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->MarkWritten(kSession, reservation.id, 1, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->MarkWritten(kSession, reservation.id, 2, 1)));
  const Reservation blob = Reserve(TestBlob(1, 10));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->MarkWritten(kSession, blob.id, 0, 2)))
      << "a blob counts as one layer";
}

TEST_F(StoreWriteTest, AReservationBelongsToItsSession) {
  const Reservation reservation = Reserve(Segment(1));
  for (const ReservationId id : {reservation.id, reservation.id + 1}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->ReservedBlocks(kOther, id).status()));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->ReservedHeader(kOther, id).status()));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->BeginWrite(kOther, id).status()));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->MarkWritten(kOther, id, 0, 1)));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Commit(kOther, id, now_).status()));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Abort(kOther, id)));
  }
  EXPECT_TRUE(store_->Abort(kSession, reservation.id).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Abort(kSession, reservation.id)))
      << "once is enough";
}

TEST_F(StoreWriteTest, WhatIsThereOrBeingWrittenIsAlreadyHad) {
  const base::ObjectHeader header = Segment(1);
  const Reservation first = Reserve(header);
  EXPECT_EQ(Reserve(header, kOther).outcome, Outcome::kAlreadyHave);
  ASSERT_TRUE(store_->Abort(kSession, first.id).ok());
  Put(header);
  EXPECT_EQ(Reserve(header, kOther).outcome, Outcome::kAlreadyHave);
  EXPECT_EQ(Reserve(Segment(1, 1)).outcome, Outcome::kReserved)
      << "another context is another object";
  EXPECT_EQ(store_->Stats().already_have, 2u);
}

TEST_F(StoreWriteTest, AnExactSegmentReplacesAnApproximateOne) {
  const base::ObjectHeader rough = Segment(1, 1, 2, base::Lineage::kApproximate);
  const base::ObjectHeader exact = Segment(1, 1, 2, base::Lineage::kExact);
  const ObjectId old_id = Put(rough);
  ASSERT_TRUE(store_->Link(old_id, base::Key{7, 7}, base::Key{8, 8}).ok());
  ASSERT_EQ(store_->SetPinned({.key = rough.context}, true), 1u);
  const Lease lease = MustAcquire(old_id);
  EXPECT_EQ(Reserve(rough).outcome, Outcome::kAlreadyHave)
      << "approximate for approximate is no gain";

  const ObjectId new_id = Put(exact, kOther);
  EXPECT_NE(new_id, old_id);
  const Found found =
      store_->Find({.content = exact.content, .context = exact.context, .lossless = true});
  EXPECT_EQ(found.object.id, new_id);
  EXPECT_EQ(store_->ByContext(base::Key{7, 7}, false).object.id, new_id) << "its links go with it";
  EXPECT_TRUE(absl::IsNotFound(store_->Acquire(kSession, old_id, now_).status()));
  EXPECT_TRUE(HoldsBytesOf(rough, store_->LeasedBlocks(kSession, lease.id).value()))
      << "a lease outlives it";
  EXPECT_EQ(store_->Stats().used_bytes, 4 * kPage);
  EXPECT_EQ(store_->Stats().objects_memory, 1u);
  ASSERT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  ASSERT_TRUE(store_->Release(kSession, lease.id).ok());
  EXPECT_EQ(store_->Stats().used_bytes, 2 * kPage);
  EXPECT_EQ(store_->Evict({.all = true}), 0u) << "a pin goes with it too";
  EXPECT_EQ(Reserve(exact).outcome, Outcome::kAlreadyHave) << "an exact one is not replaced";
}

// A link says that an object of another context will do; an own one is better, exact or not.
TEST_F(StoreWriteTest, ALinkedContextTakesASegmentOfItsOwn) {
  for (const base::Lineage lineage : {base::Lineage::kExact, base::Lineage::kApproximate}) {
    Reset(options_);
    const base::ObjectHeader there = Segment(1, 1), own = Segment(1, 2, 1, lineage);
    const ObjectId linked = Put(there);
    ASSERT_TRUE(store_->Link(linked, own.context, own.parent_context).ok());
    const FindQuery query{.content = own.content, .context = own.context};
    ASSERT_EQ(store_->Find(query).object.id, linked);
    ASSERT_EQ(store_->Find(query).lineage, base::Lineage::kApproximate);
    const ObjectId id = Put(own);  // Reserve answered kReserved
    EXPECT_EQ(store_->Find(query).object.id, id);
    EXPECT_EQ(store_->Find(query).lineage, lineage);
    EXPECT_EQ(store_->ByContext(own.context, false).object.id, id);
    EXPECT_EQ(WhereIs(there), Where::kMemory) << "the other one stays what it was";
    EXPECT_EQ(Reserve(own).outcome, Outcome::kAlreadyHave);
    ASSERT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  }
}

// An approximate one that lies on disk only is replaced as well, and so is its record.
TEST_F(StoreWriteTest, AnExactSegmentReplacesAnApproximateOneOnDisk) {
  Reset({.has_disk = true, .blob_block_bytes = kPage});
  const base::ObjectHeader rough = Segment(1, 1, 2, base::Lineage::kApproximate);
  ASSERT_TRUE(store_->AddDiskRecord(rough, now_).ok());
  EXPECT_EQ(Reserve(rough).outcome, Outcome::kAlreadyHave);
  Put(Segment(1, 1, 2));
  EXPECT_EQ(store_->Find({.content = rough.content, .context = rough.context, .lossless = true})
                .object.where,
            Where::kMemory);
  EXPECT_EQ(store_->TakeRecordDrops().size(), 1u);
  EXPECT_EQ(store_->Stats().objects_disk, 0u);
}

TEST_F(StoreWriteTest, AbortGivesTheBlocksBack) {
  const Reservation reservation = Reserve(Segment(1, 0, 4));
  EXPECT_EQ(store_->Stats().used_bytes, 4 * kPage);
  ASSERT_TRUE(store_->Abort(kSession, reservation.id).ok());
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
  EXPECT_EQ(store_->Stats().aborts, 1u);
  for (const base::BlockRef& ref : reservation.blocks) {
    EXPECT_EQ(arena_->generation(ref.handle), ref.generation + 1)
        << "whoever still reads there can tell";
  }
}

// A payload that is still arriving must not land in blocks that have been given to somebody else.
TEST_F(StoreWriteTest, AWriteInProgressHoldsTheBlocks) {
  const base::ObjectHeader header = Segment(1, 0, 4);
  const Reservation reservation = Reserve(header);
  ASSERT_TRUE(store_->BeginWrite(kSession, reservation.id).ok());
  ASSERT_EQ(store_->BeginWrite(kSession, reservation.id).value(), reservation.blocks);
  ASSERT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, 2).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Commit(kSession, reservation.id, now_).status()));
  store_->CloseSession(kSession);
  EXPECT_EQ(store_->Stats().used_bytes, 4 * kPage);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(store_->ReservedBlocks(kSession, reservation.id).status()));
  EXPECT_EQ(Reserve(header, kOther).outcome, Outcome::kReserved) << "its name is free at once";
  store_->EndWrite(reservation.id);
  EXPECT_EQ(store_->Stats().used_bytes, 8 * kPage);
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  store_->EndWrite(reservation.id);
  EXPECT_EQ(store_->Stats().used_bytes, 4 * kPage);
  store_->EndWrite(reservation.id);  // one too many changes nothing
  EXPECT_EQ(store_->Stats().used_bytes, 4 * kPage);
}

TEST_F(StoreWriteTest, AWriteThatEndsLetsCommitPass) {
  const Reservation reservation = Reserve(Segment(1));
  ASSERT_TRUE(store_->BeginWrite(kSession, reservation.id).ok());
  ASSERT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, 2).ok());
  store_->EndWrite(reservation.id);
  store_->EndWrite(reservation.id);
  EXPECT_TRUE(store_->Commit(kSession, reservation.id, now_).ok());
}

TEST_F(StoreWriteTest, BadHeadersAndUnknownModelsAreRefused) {
  base::ObjectHeader header = Segment(1);
  header.tokens.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Reserve(kSession, header, now_).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Reserve(kSession, TestBlob(1, 0), now_).status()));
  header = Segment(1);
  header.model = base::Key{1, 2};
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Reserve(kSession, header, now_).status()));
  EXPECT_EQ(store_->Stats().reservations, 0u);
}

TEST_F(StoreWriteTest, AStoreWithoutBlobBlocksTakesNoBlobs) {
  Reset({.blob_block_bytes = 0});
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Reserve(kSession, TestBlob(1, 1), now_).status()));
  Put(Segment(1));
}

TEST_F(StoreWriteTest, WhatNeverFitsIsTooLarge) {
  EXPECT_EQ(Reserve(Segment(1, 0, 17)).outcome, Outcome::kTooLarge);
  EXPECT_EQ(Reserve(TestBlob(1, 16 * kPage + 1)).outcome, Outcome::kTooLarge);
  const base::ModelSpec giant = TestModel("giant", 64, 4096);  // a page of 4 MiB
  ASSERT_TRUE(store_->RegisterModel(giant).ok());
  EXPECT_EQ(Reserve(TestSegment(giant, 1, 0, 1)).outcome, Outcome::kTooLarge);
  EXPECT_EQ(Reserve(Segment(1, 0, 16)).outcome, Outcome::kReserved) << "the whole arena";
}

TEST_F(StoreWriteTest, ClosingASessionAbortsItsReservationsOnly) {
  Reserve(Segment(1));
  const Reservation other = Reserve(Segment(2), kOther);
  store_->CloseSession(kSession);
  store_->CloseSession(kSession);
  store_->CloseSession(77);
  EXPECT_EQ(store_->Stats().reservations, 1u);
  EXPECT_TRUE(store_->ReservedBlocks(kOther, other.id).ok());
}

TEST_F(StoreWriteTest, AContentKeepsItsMostValuableVariants) {
  Reset({.variants_per_content = 2, .blob_block_bytes = kPage});
  Put(Segment(1, 1));
  const ObjectId second = Put(Segment(1, 2));
  ASSERT_TRUE(store_->Release(kSession, MustAcquire(second).id).ok());  // used once more
  Put(Segment(1, 3));
  EXPECT_EQ(WhereIs(Segment(1, 1)), Where::kMiss) << "the least used goes, never the newest";
  EXPECT_EQ(WhereIs(Segment(1, 2)), Where::kMemory);
  EXPECT_EQ(WhereIs(Segment(1, 3)), Where::kMemory);
  EXPECT_EQ(store_->Stats().dropped_objects, 1u);
}

TEST_F(StoreWriteTest, VariantsInUseStayBeyondTheLimit) {
  Reset({.variants_per_content = 1, .blob_block_bytes = kPage});
  const Lease lease = MustAcquire(Put(Segment(1, 1)));
  Put(Segment(1, 2));
  ASSERT_EQ(store_->SetPinned({.key = Segment(1, 2).context}, true), 1u);
  Put(Segment(1, 3));
  EXPECT_EQ(store_->Stats().objects_memory, 3u);
  ASSERT_TRUE(store_->Release(kSession, lease.id).ok());
  Put(Segment(1, 4));
  EXPECT_EQ(WhereIs(Segment(1, 1)), Where::kMiss);
  EXPECT_EQ(WhereIs(Segment(1, 2)), Where::kMemory);
  EXPECT_EQ(WhereIs(Segment(1, 3)), Where::kMiss);
}

// Nobody reuses such rows by content: each variant is the only one for its prompts.
TEST_F(StoreWriteTest, HybridModelsKeepAllVariants) {
  Reset({.variants_per_content = 2, .blob_block_bytes = kPage});
  base::ModelSpec hybrid = TestModel("test/hybrid", 2, 128);
  hybrid.state = TestState();
  ASSERT_TRUE(store_->RegisterModel(hybrid).ok());
  for (uint32_t past = 1; past <= 5; ++past) Put(TestSegment(hybrid, 1, past, 16));
  for (uint32_t past = 1; past <= 5; ++past) {
    EXPECT_EQ(WhereIs(TestSegment(hybrid, 1, past, 16)), Where::kMemory) << past;
  }
}

}  // namespace
}  // namespace cistern::storage
