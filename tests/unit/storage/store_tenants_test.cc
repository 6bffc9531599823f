// Which objects go when tenants have priorities and quotas, and when time runs out.
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kTenant = 7;
constexpr uint64_t kOtherTenant = 9;

// An arena of 16 pages.
class StoreTenantsTest : public StoreTest {
 protected:
  base::ObjectHeader Of(uint64_t tenant, uint32_t text, uint32_t pages = 1) const {
    base::ObjectHeader header = Segment(text, text, pages);
    header.tenant = tenant;
    return header;
  }
  void WithRules(std::vector<TenantRule> tenants, bool has_disk = false, TenantRule others = {}) {
    Reset({.tenants = std::move(tenants),
           .other_tenants = others,
           .has_disk = has_disk,
           .blob_block_bytes = kPage});
  }
  TenantStats Stats(size_t rule) const { return store_->Stats().tenants.at(rule); }
};

TEST_F(StoreTenantsTest, ATenantMakesRoomOutOfItsOwn) {
  WithRules({{.tenant = kTenant, .quota_bytes = 3 * kPage}});
  Put(Of(kOtherTenant, 1));
  for (uint32_t text = 10; text < 13; ++text) Put(Of(kTenant, text));
  EXPECT_EQ(Stats(0).used_bytes, 3 * kPage);
  EXPECT_EQ(Stats(0).evicted_objects, 0u);
  Put(Of(kTenant, 13, 2));  // though there are 12 free pages
  EXPECT_EQ(Stats(0).used_bytes, 3 * kPage);
  EXPECT_EQ(Stats(0).evicted_objects, 2u);
  EXPECT_EQ(Stats(0).objects_memory, 2u);
  EXPECT_EQ(WhereIs(Of(kOtherTenant, 1)), Where::kMemory);
  EXPECT_EQ(Stats(1).used_bytes, kPage);
  EXPECT_EQ(Stats(1).evicted_objects, 0u);
}

TEST_F(StoreTenantsTest, WhatIsInUseCountsAndIsNotEvictedForTheQuota) {
  WithRules({{.tenant = kTenant, .quota_bytes = 3 * kPage}});
  const ObjectId kept = Put(Of(kTenant, 1));
  const Lease lease = MustAcquire(kept);
  const Reservation writing = Reserve(Of(kTenant, 2));
  Put(Of(kTenant, 3));
  EXPECT_EQ(Reserve(Of(kTenant, 4, 2)).outcome, Reservation::Outcome::kNoRoom);
  EXPECT_EQ(WhereIs(Of(kTenant, 3)), Where::kMemory) << "nothing went for what could not be had";
  EXPECT_EQ(Stats(0).over_quota, 1u);
  EXPECT_EQ(store_->Stats().no_room, 1u);
  EXPECT_EQ(Reserve(Of(kTenant, 5)).outcome, Reservation::Outcome::kReserved);
  EXPECT_EQ(WhereIs(Of(kTenant, 3)), Where::kMiss);
  EXPECT_EQ(WhereIs(Of(kTenant, 1)), Where::kMemory);
  EXPECT_TRUE(store_->Release(kSession, lease.id).ok());
  EXPECT_TRUE(store_->Abort(kSession, writing.id).ok());
  EXPECT_EQ(Stats(0).used_bytes, 2 * kPage);
}

TEST_F(StoreTenantsTest, AnObjectLargerThanTheQuotaIsTooLarge) {
  WithRules({{.tenant = kTenant, .quota_bytes = 3 * kPage - 1}});
  EXPECT_EQ(Reserve(Of(kTenant, 1, 3)).outcome, Reservation::Outcome::kTooLarge);
  EXPECT_EQ(Reserve(Of(kOtherTenant, 2, 3)).outcome, Reservation::Outcome::kReserved);
}

TEST_F(StoreTenantsTest, AllOthersShareOneRule) {
  WithRules({{.tenant = kTenant}}, false, {.quota_bytes = 2 * kPage});
  Put(Of(kOtherTenant, 1));
  Put(Of(0, 2));
  Put(Of(11, 3));
  EXPECT_EQ(Stats(1).used_bytes, 2 * kPage);
  EXPECT_EQ(Stats(1).evicted_objects, 1u);
}

TEST_F(StoreTenantsTest, ALowerPriorityYieldsToAHigherOne) {
  WithRules({{.tenant = kTenant, .priority = 4}});
  const ObjectId popular = Put(Of(kOtherTenant, 1));
  for (uint32_t text = 10; text < 25; ++text) Put(Of(kTenant, text));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(store_->Release(kSession, MustAcquire(popular).id).ok());
  Put(Of(kTenant, 30));  // the arena was full
  EXPECT_EQ(WhereIs(Of(kOtherTenant, 1)), Where::kMiss) << "though it was used most";
  for (uint32_t text = 10; text < 25; ++text)
    EXPECT_EQ(WhereIs(Of(kTenant, text)), Where::kMemory) << text;
  Put(Of(kOtherTenant, 2));  // nothing lower is left: then one of the higher ones
  EXPECT_EQ(WhereIs(Of(kOtherTenant, 2)), Where::kMemory);
  EXPECT_EQ(Stats(0).evicted_objects, 1u);
}

TEST_F(StoreTenantsTest, ATenantAboveItsWatermarkIsDemotedThoughTheArenaIsEmpty) {
  WithRules({{.tenant = kTenant, .quota_bytes = 5 * kPage}}, /*has_disk=*/true);
  Put(Of(kOtherTenant, 1));
  for (uint32_t text = 10; text < 15; ++text) Put(Of(kTenant, text));
  EXPECT_EQ(Reserve(Of(kTenant, 15)).outcome, Reservation::Outcome::kNoRoom) << "all are dirty";
  EXPECT_EQ(Stats(0).over_quota, 1u);
  EXPECT_TRUE(store_->DemotionMayHelp(Of(kTenant, 15)));
  const std::vector<Demotion> demotions = store_->TakeDemotions(100 * kPage, true);
  ASSERT_EQ(demotions.size(), 1u) << "from 5 pages to the low watermark, 4";
  EXPECT_EQ(demotions[0].header.tenant, kTenant);
  EXPECT_TRUE(store_->TakeDemotions(100 * kPage, true).empty());
  store_->FinishDemotion(demotions[0].id, absl::OkStatus());
  EXPECT_EQ(Reserve(Of(kTenant, 15)).outcome, Reservation::Outcome::kReserved);
  EXPECT_EQ(WhereIs(demotions[0].header), Where::kDisk);
  EXPECT_FALSE(store_->Stats().draining) << "the arena itself is not above its watermark";
}

TEST_F(StoreTenantsTest, WhatOthersHaveUnsavedDoesNotHelpATenantAtItsQuota) {
  WithRules({{.tenant = kTenant, .quota_bytes = 2 * kPage}}, /*has_disk=*/true);
  Put(Of(kOtherTenant, 1));
  const ObjectId leased = Put(Of(kTenant, 10, 2));
  const Lease lease = MustAcquire(leased);
  const std::vector<Demotion> demotions = store_->TakeDemotions(1, true);
  ASSERT_EQ(demotions.size(), 1u);
  store_->FinishDemotion(demotions[0].id, absl::OkStatus());
  EXPECT_EQ(Reserve(Of(kTenant, 11)).outcome, Reservation::Outcome::kNoRoom);
  EXPECT_FALSE(store_->DemotionMayHelp(Of(kTenant, 11)));
  EXPECT_TRUE(store_->DemotionMayHelp(Of(kOtherTenant, 2)));
  EXPECT_TRUE(store_->Release(kSession, lease.id).ok());
}

TEST_F(StoreTenantsTest, ATenantThatWaitsAtItsQuotaIsWrittenFirst) {
  WithRules({{.tenant = kTenant, .quota_bytes = 2 * kPage, .priority = 3}}, /*has_disk=*/true);
  Put(Of(kOtherTenant, 1));
  Put(Of(kTenant, 10, 2));
  EXPECT_EQ(Reserve(Of(kTenant, 11)).outcome, Reservation::Outcome::kNoRoom);
  std::vector<Demotion> demotions = store_->TakeDemotions(1, false);
  ASSERT_EQ(demotions.size(), 1u);
  EXPECT_EQ(demotions[0].header.tenant, kTenant);
  // The write fails. Others have something unsaved still; it is tried again all the same.
  store_->FinishDemotion(demotions[0].id, absl::UnavailableError("I/O error"));
  EXPECT_EQ(store_->TakeDemotions(1, true).size(), 0u);
  EXPECT_EQ(Reserve(Of(kTenant, 11)).outcome, Reservation::Outcome::kNoRoom);
  demotions = store_->TakeDemotions(1, false);
  ASSERT_EQ(demotions.size(), 1u);
  EXPECT_EQ(demotions[0].header.tenant, kTenant);
  store_->FinishDemotion(demotions[0].id, absl::OkStatus());
  EXPECT_EQ(Reserve(Of(kTenant, 11)).outcome, Reservation::Outcome::kReserved);
}

TEST_F(StoreTenantsTest, ATenantThatTurnsOverItsQuotaAgesNobodyElse) {
  WithRules({{.tenant = kTenant, .quota_bytes = kPage}});
  Put(Of(kOtherTenant, 1));
  base::ObjectHeader dear = Of(kOtherTenant, 2);
  dear.base_position = 1 << 20;
  Put(dear);
  const auto value = [&] {
    double worth = 0;
    store_->List({.key = dear.context}, 0, 1,
                 [&](const ObjectView&, bool, uint32_t, double v) { worth = v; });
    return worth;
  };
  const double before = value();
  for (uint32_t text = 10; text < 500; ++text) Put(Of(kTenant, text));
  EXPECT_EQ(Stats(0).evicted_objects, 489u);
  EXPECT_GE(value(), before / 2) << "nothing has aged beyond the cheapest of all";
  // And its own age: what was popular once goes in the end.
  const ObjectId popular = Put(Of(kTenant, 1000));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(store_->Release(kSession, MustAcquire(popular).id).ok());
  Put(Of(kTenant, 1001));
  EXPECT_EQ(WhereIs(Of(kTenant, 1000)), Where::kMiss) << "there is room for one";
}

// Two segments that claim to continue each other are no prompt: they go in their turn.
TEST_F(StoreTenantsTest, ACircleOfContextsProtectsNobody) {
  base::ObjectHeader a = Segment(1);
  base::ObjectHeader b = Segment(2);
  a.parent_context = b.context;
  b.parent_context = a.context;
  Put(a);
  Put(b);
  base::ObjectHeader self = Segment(3);
  self.parent_context = self.context;
  Put(self);
  EXPECT_EQ(store_->CheckInvariants(), absl::OkStatus());
  for (uint32_t text = 10; text < 26; ++text) Put(Segment(text, text));
  EXPECT_EQ(WhereIs(a), Where::kMiss);
  EXPECT_EQ(WhereIs(b), Where::kMiss);
  EXPECT_EQ(WhereIs(self), Where::kMiss);
}

TEST_F(StoreTenantsTest, StagingKeepsToTheQuota) {
  WithRules({{.tenant = kTenant, .quota_bytes = 2 * kPage}}, /*has_disk=*/true);
  ASSERT_TRUE(store_->AddDiskRecord(Of(kTenant, 1), now_).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(store_->AddDiskRecord(Of(kTenant, 2, 3), now_)));
  const Lease first = MustAcquire(Put(Of(kTenant, 10)));
  const ObjectId other = Put(Of(kTenant, 11));
  const ObjectId on_disk =
      store_->Find({.content = Of(kTenant, 1).content, .context = Of(kTenant, 1).context})
          .object.id;
  EXPECT_EQ(store_->BeginStage(on_disk, now_).outcome, Staging::Outcome::kNoRoom);
  EXPECT_EQ(store_->Evict({.key = Of(kTenant, 11).content}), 1u);
  EXPECT_EQ(store_->BeginStage(on_disk, now_).outcome, Staging::Outcome::kBegun);
  store_->FinishStage(on_disk, absl::OkStatus());
  EXPECT_EQ(Stats(0).used_bytes, 2 * kPage);
  EXPECT_EQ(Stats(0).objects_memory, 2u);
  EXPECT_TRUE(store_->Release(kSession, first.id).ok());
  (void)other;
}

// Four slabs: the small pages of a tenant with priority keep theirs, the large ones of others
// yield.
class StorePoolsAndTenantsTest : public StoreTest {
 protected:
  StorePoolsAndTenantsTest()
      : StoreTest({.tenants = {{.tenant = kTenant, .priority = 4}}, .blob_block_bytes = 4 * kPage},
                  64 * kPage) {}
  base::ObjectHeader Small(uint32_t text) const {
    base::ObjectHeader header = Segment(text, text);
    header.tenant = kTenant;
    return header;
  }
  uint64_t Blobs() {
    uint64_t blobs = 0;
    for (uint32_t name = 0; name < 8; ++name)
      blobs += WhereIs(TestBlob(name, 4 * kPage)) == Where::kMemory ? 1 : 0;
    return blobs;
  }
};

TEST_F(StorePoolsAndTenantsTest, PrioritiesHoldAcrossPools) {
  for (uint32_t text = 0; text < 32; ++text) Put(Small(text));
  for (uint32_t name = 0; name < 8; ++name) Put(TestBlob(name, 4 * kPage));
  EXPECT_EQ(Blobs(), 8u);
  for (uint32_t text = 32; text < 48; ++text) Put(Small(text));
  EXPECT_EQ(Blobs(), 4u);
  for (uint32_t text = 0; text < 48; ++text)
    EXPECT_EQ(WhereIs(Small(text)), Where::kMemory) << text;
  Put(TestBlob(9, 4 * kPage));
  EXPECT_EQ(Blobs(), 3u) << "its own kind yields to it";
  for (uint32_t text = 0; text < 48; ++text)
    EXPECT_EQ(WhereIs(Small(text)), Where::kMemory) << text;
}

// Slabs that tenants share: what is of a higher priority keeps the slab, though the others in it
// are worth nothing beside it.
TEST_F(StorePoolsAndTenantsTest, AHigherPriorityKeepsASharedSlab) {
  Reset({.tenants = {{.tenant = kTenant, .priority = 4}, {.tenant = kOtherTenant, .priority = 2}},
         .blob_block_bytes = 4 * kPage});
  for (uint32_t text = 0; text < 48; ++text) {  // one of 16 in each slab
    base::ObjectHeader header = Small(text);
    if (text % 16 != 5) header.tenant = 0;
    Put(header);
  }
  for (uint32_t name = 0; name < 6; ++name) {
    base::ObjectHeader blob = TestBlob(name, 4 * kPage);
    blob.tenant = kOtherTenant;
    Put(blob);
  }
  for (const uint32_t text : {5, 21, 37}) EXPECT_EQ(WhereIs(Small(text)), Where::kMemory) << text;
  EXPECT_EQ(Blobs(), 4u) << "in the fourth slab";
}

class StoreExpireTest : public StoreTest {
 protected:
  static constexpr absl::Duration kTtl = absl::Minutes(10);
  StoreExpireTest()
      : StoreTest({.object_ttl = kTtl, .has_disk = true, .blob_block_bytes = kPage}) {}
};

TEST_F(StoreExpireTest, WhatNobodyUsedForTheTimeToLiveGoesFromMemoryAndDisk) {
  const base::ObjectHeader on_disk = Segment(1);
  ASSERT_TRUE(store_->AddDiskRecord(on_disk, now_).ok());
  Put(Segment(2));
  now_ += kTtl / 2;
  const ObjectId used = Put(Segment(3));
  now_ += kTtl / 2;
  EXPECT_EQ(store_->ExpireObjects(now_, 100), 0u) << "not longer than that";
  now_ += absl::Seconds(1);
  EXPECT_EQ(store_->ExpireObjects(now_, 100), 2u);
  EXPECT_EQ(WhereIs(on_disk), Where::kMiss);
  EXPECT_EQ(WhereIs(Segment(2)), Where::kMiss);
  EXPECT_EQ(WhereIs(Segment(3)), Where::kMemory);
  EXPECT_THAT(store_->TakeRecordDrops(),
              testing::ElementsAre(RecordKey{on_disk.content, on_disk.context}));
  EXPECT_EQ(store_->Stats().expired_objects, 2u);
  EXPECT_EQ(store_->Stats().evicted_objects, 0u) << "that would be for room";
  EXPECT_TRUE(store_->Release(kSession, MustAcquire(used).id).ok());
  now_ += kTtl;
  EXPECT_EQ(store_->ExpireObjects(now_, 100), 0u) << "a lease is a use";
}

TEST_F(StoreExpireTest, WhatIsLeasedOrPinnedIsOfUse) {
  const Lease lease = MustAcquire(Put(Segment(1)));
  Put(Segment(2));
  store_->SetPinned({.key = Segment(2).content}, true);
  EXPECT_EQ(store_->Stats().pinned_objects, 1u);
  EXPECT_EQ(store_->Stats().pinned_bytes, kPage);
  now_ += 2 * kTtl;
  EXPECT_EQ(store_->ExpireObjects(now_, 100), 0u);
  EXPECT_TRUE(store_->Release(kSession, lease.id).ok());
  store_->SetPinned({.all = true}, false);
  EXPECT_EQ(store_->Stats().pinned_objects, 0u);
  EXPECT_EQ(store_->ExpireObjects(now_, 100), 0u) << "they were in use when it looked last";
  now_ += 2 * kTtl;
  EXPECT_EQ(store_->ExpireObjects(now_, 1), 1u) << "no more than the limit";
  EXPECT_EQ(store_->ExpireObjects(now_, 1), 1u);
  EXPECT_EQ(store_->Stats().pinned_bytes, 0u);
}

}  // namespace
}  // namespace cistern::storage
