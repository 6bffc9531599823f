// Making room: who goes, who never goes, and how blocks of one size give way to another.
#include <set>

#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

using Outcome = Reservation::Outcome;

class StoreEvictTest : public StoreTest {
 protected:
  void UseOnce(ObjectId id) { EXPECT_TRUE(store_->Release(kSession, MustAcquire(id).id).ok()); }
};

TEST_F(StoreEvictTest, TheLeastUsedGoesFirst) {
  std::vector<ObjectId> ids;
  for (uint32_t text = 1; text <= 4; ++text) ids.push_back(Put(Segment(text, 0, 4)));
  for (const size_t i : {0, 1, 3}) UseOnce(ids[i]);
  Put(Segment(5, 0, 4));
  EXPECT_EQ(WhereIs(Segment(3, 0, 4)), Where::kMiss);
  EXPECT_EQ(store_->Stats().objects_memory, 4u);
  EXPECT_EQ(store_->Stats().evicted_objects, 1u);
  EXPECT_EQ(store_->Stats().evicted_bytes, 4 * kPage);
  EXPECT_EQ(store_->Stats().dropped_objects, 1u);
}

// Deep segments cost more to compute again.
TEST_F(StoreEvictTest, ADeepSegmentOutlivesAShallowOne) {
  base::ObjectHeader deep = Segment(1, 0, 8);
  deep.base_position = 100'000;
  Put(deep);
  Put(Segment(2, 0, 8));
  Put(Segment(3, 0, 8));
  EXPECT_EQ(WhereIs(deep), Where::kMemory);
  EXPECT_EQ(WhereIs(Segment(2, 0, 8)), Where::kMiss);
}

TEST_F(StoreEvictTest, ThePastFadesAway) {
  const ObjectId once_popular = Put(Segment(1, 0, 4));
  for (int i = 0; i < 4; ++i) UseOnce(once_popular);
  uint32_t text = 2;
  while (WhereIs(Segment(1, 0, 4)) == Where::kMemory && text < 200)
    UseOnce(Put(Segment(text++, 0, 4)));
  EXPECT_GT(text, 5u) << "it was worth more than what came just after";
  EXPECT_LT(text, 200u) << "but not for ever";
}

TEST_F(StoreEvictTest, LeasedPinnedAndHalfWrittenObjectsStay) {
  const Lease lease = MustAcquire(Put(Segment(1, 0, 4)));
  Put(Segment(2, 0, 4));
  ASSERT_EQ(store_->SetPinned({.key = Segment(2, 0, 4).context}, true), 1u);
  const Reservation half = Reserve(Segment(3, 0, 4));
  Put(Segment(4, 0, 4));
  EXPECT_EQ(Reserve(Segment(5, 0, 5)).outcome, Outcome::kNoRoom);
  EXPECT_EQ(WhereIs(Segment(4, 0, 4)), Where::kMemory)
      << "nothing goes when it would not be enough";
  EXPECT_EQ(store_->Stats().no_room, 1u);
  EXPECT_EQ(Reserve(Segment(6, 0, 4)).outcome, Outcome::kReserved);
  EXPECT_EQ(WhereIs(Segment(4, 0, 4)), Where::kMiss);
  EXPECT_TRUE(HoldsBytesOf(Segment(1, 0, 4), lease.blocks));
  EXPECT_EQ(store_->ReservedBlocks(kSession, half.id).value(), half.blocks);
}

TEST_F(StoreEvictTest, UnpinnedObjectsGoAgain) {
  Put(Segment(1, 0, 16));
  ASSERT_EQ(store_->SetPinned({.all = true}, true), 1u);
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kNoRoom);
  ASSERT_EQ(store_->SetPinned({.all = true}, false), 1u);
  EXPECT_EQ(Reserve(Segment(2)).outcome, Outcome::kReserved);
}

TEST_F(StoreEvictTest, AFreedBlockIsRecognisedAsStale) {
  const ObjectId id = Put(Segment(1, 0, 16));
  const Lease lease = MustAcquire(id);
  ASSERT_TRUE(store_->Release(kSession, lease.id).ok());
  Put(Segment(2, 0, 16));
  for (const base::BlockRef& ref : lease.blocks)
    EXPECT_NE(arena_->generation(ref.handle), ref.generation);
}

// The arena is full of one model's pages; another model with larger pages comes, then the first
// comes back.
class MixedSizesTest : public StoreTest {
 protected:
  MixedSizesTest() : StoreTest({.blob_block_bytes = kPage}, 2 << 20) {
    EXPECT_TRUE(store_->RegisterModel(large_).ok());
  }
  base::ObjectHeader Large(uint32_t text, uint32_t pages) const {
    return TestSegment(large_, text, 0, pages * 16);
  }
  ObjectId PutLarge(uint32_t text, uint32_t pages) {
    const Reservation reservation = Reserve(Large(text, pages));
    EXPECT_EQ(reservation.outcome, Outcome::kReserved);
    EXPECT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, large_.num_layers).ok());
    return store_->Commit(kSession, reservation.id, now_).value_or(0);
  }

  const base::ModelSpec large_ =
      TestModel("large", 27, 1152);  // a page of 497,664 bytes, four to this arena
};

TEST_F(MixedSizesTest, OneSizeGivesWayToAnother) {
  for (uint32_t text = 0; text < 32; ++text) Put(Segment(text, 0, 16));
  EXPECT_EQ(store_->Stats().free_bytes, 0u);
  PutLarge(1, 4);  // nearly the whole arena
  EXPECT_EQ(store_->Stats().used_bytes - 4 * large_.page_bytes(),
            (512 - store_->Stats().evicted_objects * 16) * kPage);
  EXPECT_TRUE(store_->CheckInvariants().ok()) << store_->CheckInvariants();
  for (uint32_t text = 100; text < 132; ++text) Put(Segment(text, 0, 16));
  EXPECT_EQ(WhereIs(Large(1, 4)), Where::kMiss) << "and back";
  EXPECT_GE(store_->Stats().used_bytes, (512 - 16) * kPage);
}

TEST_F(MixedSizesTest, OnlyAsMuchGoesAsABlockNeeds) {
  for (uint32_t text = 0; text < 32; ++text) Put(Segment(text, 0, 16));
  PutLarge(1, 1);  // 497,664 bytes: 7.6 objects of 64 KiB
  EXPECT_LE(store_->Stats().evicted_objects, 9u);
}

// Holes of one size, wherever they lie, are room for another: nothing has to go.
TEST_F(MixedSizesTest, ScatteredHolesAreRoomForALargeBlock) {
  for (uint32_t text = 0; text < 512; ++text) Put(Segment(text));
  ASSERT_EQ(store_->Stats().free_bytes, 0u);
  const ObjectId read_id =
      store_->Find({.content = Segment(1).content, .context = Segment(1).context}).object.id;
  const Lease reading = MustAcquire(read_id);
  for (uint32_t text = 0; text < 512; text += 2) {
    const base::ObjectHeader header = Segment(text);
    ASSERT_EQ(store_->Evict({.key = header.context}), 1u);
  }
  const uint64_t evicted = store_->Stats().evicted_objects;
  PutLarge(1, 1);
  EXPECT_EQ(store_->Stats().evicted_objects, evicted);
  EXPECT_GT(store_->Stats().moved_blocks, 0u);
  EXPECT_EQ(store_->Stats().moved_bytes, store_->Stats().moved_blocks * kPage);
  for (const base::BlockRef& ref : reading.blocks)
    EXPECT_EQ(arena_->generation(ref.handle), ref.generation) << "it is being read";
  for (uint32_t text = 1; text < 512; text += 2) {
    const base::ObjectHeader header = Segment(text);
    const Found found = store_->Find({.content = header.content, .context = header.context});
    ASSERT_EQ(found.object.where, Where::kMemory);
    EXPECT_TRUE(HoldsBytesOf(header, MustAcquire(found.object.id).blocks));
  }
}

// A pool does not eat itself up while another holds what nobody uses.
TEST_F(MixedSizesTest, WorthlessSlabsOfOthersGoBeforeOnesOwn) {
  std::vector<ObjectId> small;
  for (uint32_t text = 0; text < 32; ++text) small.push_back(Put(Segment(text, 0, 16)));
  std::set<ObjectId> used;
  for (uint32_t text = 1; text <= 3; ++text) {
    const ObjectId id = PutLarge(text, 1);
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(store_->Release(kSession, MustAcquire(id).id).ok());
  }
  PutLarge(4, 1);
  for (uint32_t text = 1; text <= 3; ++text)
    EXPECT_EQ(WhereIs(Large(text, 1)), Where::kMemory) << text;
}

// A cleared stretch takes worthy objects along; that must not age everything else.
TEST_F(MixedSizesTest, AClearedStretchDoesNotAgeTheRest) {
  for (uint32_t text = 0; text < 32; ++text) {
    const ObjectId id = Put(Segment(text, 0, 16));
    for (uint32_t use = 0; use < text % 2 * 8; ++use) {
      EXPECT_TRUE(store_->Release(kSession, MustAcquire(id).id).ok());
    }
  }
  PutLarge(1, 1);
  uint64_t worthy = 0;
  store_->List({.model = model_.Fingerprint()}, 0, 100,
               [&](const ObjectView&, bool, uint32_t, double value) { worthy += value > 0; });
  EXPECT_GE(worthy, 11u) << "those that were used nine times and are still there";
}

TEST_F(MixedSizesTest, APinnedBlockInTheMiddleIsGoneAround) {
  for (uint32_t text = 0; text < 32; ++text) Put(Segment(text, 0, 16));
  ASSERT_EQ(store_->SetPinned({.key = Segment(16, 0, 16).context}, true), 1u);
  const ObjectId id = PutLarge(1, 3);
  EXPECT_NE(id, 0u);
  EXPECT_EQ(WhereIs(Segment(16, 0, 16)), Where::kMemory);
  EXPECT_EQ(Reserve(Large(2, 4)).outcome, Outcome::kNoRoom) << "four in a row do not pass it";
}

// 1 MiB objects first, then 4 MiB ones, in a small store: all that were acknowledged are there, and
// no bytes are lost while others are free.
TEST_F(MixedSizesTest, MixedSizesInASmallStoreLoseNothing) {
  const base::ModelSpec one = TestModel("one", 1, 4096);     // a page of 64 KiB
  const base::ModelSpec four = TestModel("four", 1, 16384);  // a page of 256 KiB
  ASSERT_TRUE(store_->RegisterModel(one).ok() && store_->RegisterModel(four).ok());
  for (const base::ModelSpec* spec : {&one, &four, &one, &four}) {
    for (uint32_t text = 0; text < 40; ++text) {
      const base::ObjectHeader header = TestSegment(*spec, text, store_->Stats().commits % 7, 16);
      const Reservation reservation = Reserve(header);
      if (reservation.outcome == Outcome::kAlreadyHave) continue;
      ASSERT_EQ(reservation.outcome, Outcome::kReserved);
      ASSERT_TRUE(store_->MarkWritten(kSession, reservation.id, 0, 1).ok());
      ASSERT_TRUE(store_->Commit(kSession, reservation.id, now_).ok());
      ASSERT_EQ(WhereIs(header), Where::kMemory) << "acknowledged and gone";
    }
    const StoreStats stats = store_->Stats();
    EXPECT_EQ(stats.used_bytes + stats.free_bytes + stats.remainder_bytes, stats.arena_bytes);
    EXPECT_LT(stats.free_bytes + stats.remainder_bytes, spec->page_bytes());
  }
}

TEST(StoreHandles, RunningOutOfHandlesEvictsWhateverHasOne) {
  const auto arena = TestArena(1 << 20, 8);
  Store store({.blob_block_bytes = 4096}, arena.get());
  const auto put = [&](uint32_t name, uint64_t bytes) {
    const Reservation reservation =
        store.Reserve(1, TestBlob(name, bytes), absl::UnixEpoch()).value();
    EXPECT_EQ(reservation.outcome, Outcome::kReserved);
    EXPECT_TRUE(store.MarkWritten(1, reservation.id, 0, 1).ok());
    EXPECT_TRUE(store.Commit(1, reservation.id, absl::UnixEpoch()).ok());
  };
  for (uint32_t name = 0; name < 8; ++name) put(name, 4096);
  put(9, 3 * 4096);
  EXPECT_EQ(store.Stats().evicted_objects, 3u);
  EXPECT_EQ(store.Reserve(1, TestBlob(10, 9 * 4096), absl::UnixEpoch())->outcome,
            Outcome::kTooLarge);
  EXPECT_TRUE(store.CheckInvariants().ok()) << store.CheckInvariants();
}

}  // namespace
}  // namespace cistern::storage
