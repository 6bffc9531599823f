// Room that is made before somebody waits for it.
#include "tests/unit/storage/store_test_base.h"

namespace cistern::storage {
namespace {

// Five slabs: four of blobs that are half gone, one that is free.
class StorePredictTest : public StoreTest {
 protected:
  StorePredictTest() : StoreTest({.blob_block_bytes = 4 * kPage}, 80 * kPage) {}

  // Bytes that were moved while a reservation waited for them, and before any did.
  struct Moved {
    uint64_t waited = 0;
    uint64_t ahead = 0;
  };
  Moved Run(bool predict) {
    Reset({.blob_block_bytes = 4 * kPage, .predict_demand = predict});
    for (uint32_t name = 0; name < 16; ++name) Put(TestBlob(name, 4 * kPage));
    for (uint32_t name = 0; name < 16; name += 2)
      EXPECT_EQ(store_->Evict({.key = TestBlob(name, 1).content}), 1u);
    for (uint32_t text = 0; text < 40; ++text) {
      now_ += absl::Milliseconds(60);
      Put(Segment(text, text));
    }
    const StoreStats stats = store_->Stats();
    EXPECT_EQ(stats.evicted_objects, 0u);
    for (uint32_t name = 1; name < 16; name += 2) {
      const base::ObjectHeader blob = TestBlob(name, 4 * kPage);
      const Lease lease = MustAcquire(store_->Find({.content = blob.content}).object.id);
      EXPECT_TRUE(BlocksHold(*arena_, lease.blocks, kPage, blob.content.lo)) << name;
      EXPECT_TRUE(store_->Release(kSession, lease.id).ok());
    }
    EXPECT_EQ(store_->CheckInvariants(), absl::OkStatus());
    return {.waited = stats.moved_bytes - stats.moved_ahead_bytes,
            .ahead = stats.moved_ahead_bytes};
  }
};

TEST_F(StorePredictTest, SlabsMoveBeforeThePoolRunsOut) {
  const Moved off = Run(false);
  EXPECT_GT(off.waited, 0u);
  EXPECT_EQ(off.ahead, 0u);
  const Moved on = Run(true);
  EXPECT_EQ(on.waited, 0u);
  EXPECT_GT(on.ahead, 0u);
  const Moved again = Run(true);
  EXPECT_EQ(again.ahead, on.ahead) << "the same calls at the same times";
}

}  // namespace
}  // namespace cistern::storage
