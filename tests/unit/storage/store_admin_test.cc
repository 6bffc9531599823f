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
  Reset({.max_models = 2});
  EXPECT_TRUE(store_->RegisterModel(TestModel("second", 1, 64)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(store_->RegisterModel(TestModel("third", 1, 64))));
  EXPECT_TRUE(store_->RegisterModel(model_).ok());
  EXPECT_EQ(store_->Models().size(), 2u);
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
