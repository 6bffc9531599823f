// Find, leases, links.
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

using base::Lineage;

class StoreReadTest : public StoreTest {
 protected:
  Found Find(const base::ObjectHeader& header, bool accept_content = false, bool lossless = false) {
    return store_->Find({.content = header.content,
                         .context = header.context,
                         .accept_content = accept_content,
                         .lossless = lossless});
  }
};

TEST_F(StoreReadTest, AnExactHitIsPreferred) {
  const ObjectId here = Put(Segment(1, 1));
  Put(Segment(1, 2));
  const Found found = Find(Segment(1, 1), true);
  EXPECT_EQ(found.object.id, here);
  EXPECT_EQ(found.match, Match::kExact);
  EXPECT_EQ(found.lineage, Lineage::kExact);
  EXPECT_EQ(*found.object.header, Segment(1, 1));
  EXPECT_EQ(found.object.where, Where::kMemory);
}

TEST_F(StoreReadTest, AnotherContextOnlyForThoseWhoAcceptIt) {
  const ObjectId elsewhere = Put(Segment(1, 2));
  EXPECT_EQ(Find(Segment(1, 1)).object.where, Where::kMiss);
  const Found found = Find(Segment(1, 1), true);
  EXPECT_EQ(found.object.id, elsewhere);
  EXPECT_EQ(found.match, Match::kContent);
  EXPECT_EQ(Find(Segment(2, 1), true).object.where, Where::kMiss);
  const StoreStats stats = store_->Stats();
  EXPECT_EQ(stats.finds, 3u);
  EXPECT_EQ(stats.content_hits, 1u);
  EXPECT_EQ(stats.misses, 2u);
}

TEST_F(StoreReadTest, OfSeveralVariantsTheBest) {
  Put(Segment(1, 2, 1, Lineage::kApproximate));
  const ObjectId exact = Put(Segment(1, 3));
  Put(Segment(1, 4, 1, Lineage::kApproximate));
  EXPECT_EQ(Find(Segment(1, 1), true).object.id, exact);
  const ObjectId newer = Put(Segment(1, 5));
  EXPECT_EQ(Find(Segment(1, 1), true).object.id, newer);
}

TEST_F(StoreReadTest, UnrotatedRowsAreBetterThanRotated) {
  const ObjectId plain = Put(Segment(1, 2));
  base::ObjectHeader rotated = Segment(1, 3);
  rotated.encoding = base::RotaryEncoding::kRotated;
  Put(rotated);
  EXPECT_EQ(Find(Segment(1, 1), true).object.id, plain);
}

TEST_F(StoreReadTest, LosslessTakesNoApproximation) {
  Put(Segment(1, 1, 1, Lineage::kApproximate));
  EXPECT_EQ(Find(Segment(1, 1), true, true).object.where, Where::kMiss);
  EXPECT_EQ(Find(Segment(1, 1)).lineage, Lineage::kApproximate);
  EXPECT_EQ(store_->ByContext(Segment(1, 1).context, true).object.where, Where::kMiss);
  EXPECT_EQ(store_->Children(Segment(1, 1).parent_context, true).size(), 0u);
  const ObjectId exact = Put(Segment(1, 2));
  EXPECT_EQ(Find(Segment(1, 1), true, true).object.id, exact);
}

TEST_F(StoreReadTest, FindingNeitherPinsNorRefreshes) {
  const ObjectId first = Put(Segment(1));
  Put(Segment(2));
  for (int i = 0; i < 100; ++i) Find(Segment(1));
  Put(Segment(3, 0, 15));  // needs one page of the two that are taken
  EXPECT_EQ(Find(Segment(1)).object.where, Where::kMiss) << "the older of two that nobody used";
  EXPECT_TRUE(absl::IsNotFound(store_->Acquire(kSession, first, now_).status()));
}

TEST_F(StoreReadTest, ALinkServesAnotherContextApproximately) {
  const ObjectId id = Put(Segment(1, 1));
  const base::ObjectHeader there = Segment(1, 5);
  ASSERT_TRUE(store_->Link(id, there.context, there.parent_context).ok());
  const Found found = Find(there);
  EXPECT_EQ(found.object.id, id);
  EXPECT_EQ(found.match, Match::kExact);
  EXPECT_EQ(found.lineage, Lineage::kApproximate);
  EXPECT_EQ(Find(there, false, true).object.where, Where::kMiss);
  EXPECT_EQ(store_->ByContext(there.context, false).object.id, id);
  EXPECT_EQ(store_->ByContext(there.context, false).lineage, Lineage::kApproximate);
  EXPECT_EQ(store_->ByContext(there.context, true).object.where, Where::kMiss);
  ASSERT_EQ(store_->Children(there.parent_context, false).size(), 1u);
  EXPECT_EQ(store_->Children(there.parent_context, false)[0].lineage, Lineage::kApproximate);
  EXPECT_EQ(store_->Stats().links, 1u);
}

TEST_F(StoreReadTest, ARealObjectWinsOverALink) {
  const ObjectId linked = Put(Segment(1, 1));
  const base::ObjectHeader there = Segment(1, 5);
  ASSERT_TRUE(store_->Link(linked, there.context, there.parent_context).ok());
  const ObjectId real = Put(there);
  EXPECT_EQ(Find(there).object.id, real);
  EXPECT_EQ(Find(there).lineage, Lineage::kExact);
  EXPECT_EQ(store_->ByContext(there.context, false).object.id, real);
  const ObjectId third = Put(Segment(1, 6));
  EXPECT_TRUE(store_->Link(third, there.context, there.parent_context).ok())
      << "nothing to do, and no error";
  EXPECT_EQ(store_->Stats().links, 1u);
  EXPECT_EQ(store_->Evict({.key = there.context}), 1u);
  EXPECT_EQ(Find(there).object.id, linked) << "the link still serves";
}

TEST_F(StoreReadTest, LinksAreFewAndTheOldestGoes) {
  Reset({.links_per_object = 2, .blob_block_bytes = kPage});
  const ObjectId id = Put(Segment(1, 1));
  for (uint64_t i = 1; i <= 3; ++i)
    ASSERT_TRUE(store_->Link(id, base::Key{i, i}, base::Key{}).ok());
  ASSERT_TRUE(store_->Link(id, base::Key{3, 3}, base::Key{}).ok()) << "said twice, kept once";
  EXPECT_EQ(store_->Stats().links, 2u);
  EXPECT_EQ(store_->ByContext(base::Key{1, 1}, false).object.where, Where::kMiss);
  EXPECT_EQ(store_->ByContext(base::Key{3, 3}, false).object.id, id);
  Reset({.links_per_object = 0, .blob_block_bytes = kPage});
  EXPECT_TRUE(store_->Link(Put(Segment(1, 1)), base::Key{1, 1}, base::Key{}).ok());
  EXPECT_EQ(store_->Stats().links, 0u);
}

TEST_F(StoreReadTest, WhatCannotBeLinked) {
  EXPECT_TRUE(absl::IsNotFound(store_->Link(99, base::Key{1, 1}, base::Key{})));
  EXPECT_TRUE(
      absl::IsInvalidArgument(store_->Link(Put(TestBlob(1, 10)), base::Key{1, 1}, base::Key{})));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Link(Put(Segment(1)), base::Key{}, base::Key{})));
}

TEST_F(StoreReadTest, ChildrenNewestFirstAndFew) {
  Reset({.neighbours_per_gap = 3, .blob_block_bytes = kPage});
  std::vector<ObjectId> ids;
  for (uint32_t text = 1; text <= 5; ++text) ids.push_back(Put(Segment(text, 7)));
  Put(Segment(9, 8));
  const std::vector<Found> children = store_->Children(Segment(1, 7).parent_context, false);
  ASSERT_EQ(children.size(), 3u);
  EXPECT_EQ(children[0].object.id, ids[4]);
  EXPECT_EQ(children[1].object.id, ids[3]);
  EXPECT_EQ(children[2].object.id, ids[2]);
  ASSERT_TRUE(store_->Link(ids[4], base::Key{4, 4}, Segment(1, 7).parent_context).ok());
  EXPECT_EQ(store_->Children(Segment(1, 7).parent_context, false)[1].object.id, ids[3])
      << "each object once";
}

TEST_F(StoreReadTest, ALeaseKeepsTheBlocksInPlace) {
  const ObjectId id = Put(Segment(1, 0, 2));
  const Lease lease = MustAcquire(id);
  EXPECT_EQ(lease.blocks.size(), 2u);
  EXPECT_EQ(*store_->LeasedHeader(kSession, lease.id).value(), Segment(1, 0, 2));
  EXPECT_EQ(store_->LeasedBlocks(kSession, lease.id).value(), lease.blocks);
  for (uint32_t text = 2; text < 40; ++text) Put(Segment(text, 0, 3));
  EXPECT_TRUE(HoldsBytesOf(Segment(1, 0, 2), lease.blocks));
  EXPECT_EQ(store_->Stats().leases, 1u);
  ASSERT_TRUE(store_->Release(kSession, lease.id).ok());
  EXPECT_EQ(store_->Stats().leases, 0u);
}

TEST_F(StoreReadTest, ALeaseBelongsToItsSession) {
  const Lease lease = MustAcquire(Put(Segment(1)));
  for (const LeaseId id : {lease.id, lease.id + 1}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Release(kOther, id)));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->LeasedHeader(kOther, id).status()));
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->LeasedBlocks(kOther, id).status()));
  }
  EXPECT_TRUE(store_->Release(kSession, lease.id).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Release(kSession, lease.id)));
}

TEST_F(StoreReadTest, LeasesHaveABound) {
  Reset({.blob_block_bytes = kPage, .max_leases = 2});
  const ObjectId id = Put(Segment(1));
  MustAcquire(id);
  const Lease second = MustAcquire(id);
  EXPECT_TRUE(absl::IsResourceExhausted(store_->Acquire(kSession, id, now_).status()));
  ASSERT_TRUE(store_->Release(kSession, second.id).ok());
  MustAcquire(id);
}

TEST_F(StoreReadTest, ClosingASessionReleasesItsLeases) {
  const ObjectId id = Put(Segment(1, 0, 16));
  MustAcquire(id, kSession);
  const Lease other = MustAcquire(id, kOther);
  store_->CloseSession(kSession);
  EXPECT_EQ(store_->Stats().leases, 1u);
  EXPECT_EQ(Reserve(Segment(2)).outcome, Reservation::Outcome::kNoRoom);
  ASSERT_TRUE(store_->Release(kOther, other.id).ok());
  EXPECT_EQ(Reserve(Segment(2)).outcome, Reservation::Outcome::kReserved);
}

TEST_F(StoreReadTest, OldLeasesExpireWhoeverHoldsThem) {
  const ObjectId id = Put(Segment(1));
  const Lease old = MustAcquire(id);
  now_ += absl::Seconds(50);
  const Lease young = MustAcquire(id, kOther);
  now_ += absl::Seconds(20);
  EXPECT_EQ(store_->ExpireLeases(now_, absl::Seconds(70)), 0u) << "not older than that";
  EXPECT_EQ(store_->ExpireLeases(now_, absl::Seconds(60), [](SessionId, LeaseId) { return true; }),
            0u)
      << "what is being read out stays";
  EXPECT_EQ(store_->ExpireLeases(now_, absl::Seconds(60)), 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Release(kSession, old.id)));
  EXPECT_TRUE(store_->Release(kOther, young.id).ok());
}

}  // namespace
}  // namespace cistern::storage
