// Models, selectors, listings, statistics.
#include "absl/strings/str_cat.h"

#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

class StoreAdminTest : public StoreTest {
 protected:
  std::vector<ObjectId> List(const Selector& selector, ObjectId cursor = 0, uint32_t limit = 100,
                             ObjectId* next = nullptr) {
    std::vector<ObjectId> ids;
    const ObjectId end = store_->List(
        selector, cursor, limit,
        [&](const ObjectView& view, bool, uint32_t, double) { ids.push_back(view.id); });
    if (next != nullptr) *next = end;
    return ids;
  }
};

TEST_F(StoreAdminTest, ModelsAreKnownByFingerprint) {
  EXPECT_EQ(store_->FindModel(model_.Fingerprint())->name, "model");
  EXPECT_EQ(store_->FindModel(base::Key{1, 1}), nullptr);
  EXPECT_TRUE(store_->RegisterModel(model_).ok()) << "again is no error";
  EXPECT_EQ(store_->Models().size(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->RegisterModel(base::ModelSpec{})));
}

TEST_F(StoreAdminTest, ModelsHaveABound) {
  Reset({.blob_block_bytes = kPage, .max_models = 2});
  const base::ModelSpec second = TestModel("second", 2, 128);
  const base::ModelSpec third = TestModel("third", 1, 64);
  ASSERT_TRUE(store_->RegisterModel(second).ok());
  Put(Segment(1));
  const Reservation reservation = Reserve(TestSegment(second, 1, 0, 16));
  EXPECT_TRUE(absl::IsResourceExhausted(store_->RegisterModel(third)))
      << "one has an object, the other will have";
  EXPECT_TRUE(store_->RegisterModel(model_).ok());
  EXPECT_EQ(store_->Models().size(), 2u);
  ASSERT_TRUE(store_->Abort(kSession, reservation.id).ok());
  ASSERT_TRUE(store_->RegisterModel(third).ok());
  EXPECT_EQ(store_->FindModel(second.Fingerprint()), nullptr);
  EXPECT_NE(store_->FindModel(model_.Fingerprint()), nullptr);
}

TEST_F(StoreAdminTest, OfModelsWithoutObjectsTheOldestIsForgotten) {
  Reset({.blob_block_bytes = kPage, .max_models = 3});  // knows model_
  const base::ModelSpec second = TestModel("second", 1, 64);
  const base::ModelSpec third = TestModel("third", 1, 64);
  const base::ModelSpec fourth = TestModel("fourth", 1, 64);
  const base::ModelSpec fifth = TestModel("fifth", 1, 64);
  const ObjectId id = Put(Segment(1));
  const Lease lease = MustAcquire(id);
  ASSERT_TRUE(store_->RegisterModel(second).ok());
  ASSERT_TRUE(store_->RegisterModel(third).ok());
  ASSERT_TRUE(store_->RegisterModel(second).ok()) << "asked for again: younger than the third";
  ASSERT_TRUE(store_->RegisterModel(fourth).ok());
  EXPECT_EQ(store_->FindModel(third.Fingerprint()), nullptr);
  EXPECT_NE(store_->FindModel(second.Fingerprint()), nullptr);
  ASSERT_TRUE(store_->Release(kSession, lease.id).ok());
  EXPECT_EQ(store_->Evict({.all = true}), 1u);
  ASSERT_TRUE(store_->RegisterModel(fifth).ok());
  EXPECT_EQ(store_->FindModel(model_.Fingerprint()), nullptr) << "its last object is gone";
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Reserve(kSession, Segment(1), now_).status()));
  ASSERT_TRUE(store_->RegisterModel(model_).ok());
  Put(Segment(1));
}

TEST_F(StoreAdminTest, InvariantsAreCheckedInPieces) {
  for (uint32_t i = 1; i <= 5; ++i) Put(Segment(i));
  ObjectId next = 0;
  int pieces = 0;
  do {
    ASSERT_TRUE(store_->CheckObjects(next, 2, &next).ok());
    ++pieces;
  } while (next != 0);
  EXPECT_EQ(pieces, 3);
}

TEST_F(StoreAdminTest, AnObjectIsDescribedUntilItIsGone) {
  const ObjectId id = Put(Segment(1));
  EXPECT_EQ(*store_->Describe(id).header, Segment(1));
  EXPECT_EQ(store_->Describe(id).where, Where::kMemory);
  EXPECT_FALSE(store_->Describe(id).on_disk);
  EXPECT_EQ(store_->Describe(id + 1).where, Where::kMiss);
  store_->Evict({.all = true});
  EXPECT_EQ(store_->Describe(id).where, Where::kMiss);
}

TEST_F(StoreAdminTest, SelectorsMeanWhatTheySay) {
  const base::ModelSpec other = TestModel("other", 2, 128);
  ASSERT_TRUE(store_->RegisterModel(other).ok());
  const ObjectId a = Put(Segment(1, 1));
  const ObjectId b = Put(Segment(1, 2));
  const ObjectId c = Put(TestSegment(other, 1, 1, 16));
  base::ObjectHeader of_tenant = Segment(2);
  of_tenant.tenant = 77;
  const ObjectId d = Put(of_tenant);
  using Ids = std::vector<ObjectId>;
  EXPECT_EQ(List({}), Ids{}) << "nothing said, nothing meant";
  EXPECT_EQ(List({.all = true}), Ids({a, b, c, d}));
  EXPECT_EQ(List({.key = Segment(1).content}), Ids({a, b}));
  EXPECT_EQ(List({.key = Segment(1, 2).context}), Ids({b}));
  EXPECT_EQ(List({.model = other.Fingerprint()}), Ids({c}));
  EXPECT_EQ(List({.tenant = 77, .has_tenant = true}), Ids({d}));
  EXPECT_EQ(List({.tenant = 0, .has_tenant = true}), Ids({a, b, c}));
  EXPECT_EQ(List({.key = Segment(1).content, .model = other.Fingerprint()}), Ids{})
      << "both must hold";
  EXPECT_EQ(store_->Evict({}), 0u);
  EXPECT_EQ(store_->Evict({.key = Segment(1).content}), 2u);
  EXPECT_EQ(store_->Evict({.tenant = 77, .has_tenant = true}), 1u);
  EXPECT_EQ(List({.all = true}), Ids({c}));
}

TEST_F(StoreAdminTest, EvictLeavesWhatIsLeasedOrPinned) {
  const Lease lease = MustAcquire(Put(Segment(1)));
  Put(Segment(2));
  Put(Segment(3));
  EXPECT_EQ(store_->SetPinned({.key = Segment(2).content}, true), 1u);
  EXPECT_EQ(store_->Evict({.all = true}), 1u);
  EXPECT_EQ(WhereIs(Segment(3)), Where::kMiss);
  ASSERT_TRUE(store_->Release(kSession, lease.id).ok());
  EXPECT_EQ(store_->SetPinned({.all = true}, false), 2u);
  EXPECT_EQ(store_->Evict({.all = true}), 2u);
  EXPECT_EQ(store_->Stats().used_bytes, 0u);
}

TEST_F(StoreAdminTest, ListingsGoOnFromTheirCursor) {
  std::vector<ObjectId> ids;
  for (uint32_t text = 1; text <= 5; ++text) ids.push_back(Put(Segment(text)));
  ObjectId next = 0;
  EXPECT_EQ(List({.all = true}, 0, 2, &next), std::vector<ObjectId>({ids[0], ids[1]}));
  EXPECT_EQ(next, ids[2]);
  EXPECT_EQ(List({.all = true}, next, 3, &next), std::vector<ObjectId>({ids[2], ids[3], ids[4]}));
  EXPECT_EQ(next, 0u);
}

TEST_F(StoreAdminTest, AListingSaysWhoUsesWhatAndWhatItIsWorth) {
  const ObjectId id = Put(Segment(1));
  MustAcquire(id);
  MustAcquire(id);
  store_->SetPinned({.all = true}, true);
  double value_of_used = 0;
  store_->List({.all = true}, 0, 10,
               [&](const ObjectView& view, bool pinned, uint32_t leases, double value) {
                 EXPECT_EQ(view.id, id);
                 EXPECT_EQ(view.where, Where::kMemory);
                 EXPECT_TRUE(pinned);
                 EXPECT_EQ(leases, 2u);
                 value_of_used = value;
               });
  const ObjectId fresh = Put(Segment(2));
  store_->List({.all = true}, fresh, 1,
               [&](const ObjectView&, bool pinned, uint32_t leases, double value) {
                 EXPECT_FALSE(pinned);
                 EXPECT_EQ(leases, 0u);
                 EXPECT_GT(value, 0.0);
                 EXPECT_LT(value, value_of_used);
               });
}

TEST_F(StoreAdminTest, StatisticsAddUp) {
  Put(Segment(1, 0, 2));
  Put(TestBlob(1, 3 * kPage));
  Reserve(Segment(2));
  const StoreStats stats = store_->Stats();
  EXPECT_EQ(stats.arena_bytes, 16 * kPage);
  EXPECT_EQ(stats.used_bytes, 6 * kPage);
  EXPECT_EQ(stats.used_bytes + stats.free_bytes + stats.remainder_bytes, stats.arena_bytes);
  EXPECT_EQ(stats.objects_memory, 2u);
  EXPECT_EQ(stats.objects_disk, 0u);
  EXPECT_EQ(stats.dirty_bytes, 5 * kPage);
  EXPECT_EQ(stats.reservations, 1u);
  ASSERT_EQ(stats.pools.size(), 1u) << "blobs and pages of one size share a pool";
  EXPECT_EQ(stats.pools[0].block_bytes, kPage);
  EXPECT_EQ(stats.pools[0].blocks_used, 6u);
}

}  // namespace
}  // namespace cistern::storage
