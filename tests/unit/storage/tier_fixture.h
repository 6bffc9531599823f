// What tests of tiers share: objects of a known model, and a memory tier with somebody who writes
// its objects below when they are asked to.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "base/clock.h"
#include "storage/tier/memory_tier.h"
#include "storage/tier/record_slices.h"
#include "tests/unit/storage/disk_fixture.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::storage {

inline constexpr uint64_t kTierBlock = 1024;  // a page of 16 tokens of TierModel, and of blobs

inline base::ModelSpec TierModel() { return TestModel("test/tiers", 2, 32); }

// An object of `tokens` tokens, its bytes from `text`.
inline TestObject TierSegment(uint32_t text, uint32_t tokens = 16,
                              base::Lineage lineage = base::Lineage::kExact) {
  TestObject object;
  object.header = TestSegment(TierModel(), text, 0, tokens, lineage);
  object.bytes = PatternBytes(text, tokens * TierModel().token_bytes());
  return object;
}

inline TestObject TierBlob(uint32_t name, uint64_t bytes) {
  TestObject object;
  object.header = TestBlob(name, bytes);
  object.bytes = PatternBytes(name, bytes);
  return object;
}

// A memory tier of `blocks` blocks over `below` (nullptr: nothing). Whatever needs to be written or
// deleted below is, at the moment when the tier asks, unless somebody is at it already.
class MemoryOver {
 public:
  MemoryOver(uint64_t blocks, Tier* below, absl::Duration patience = absl::Seconds(30))
      : below_(below),
        arena_(TestArena(blocks * kTierBlock, /*max_handles=*/4096)),
        store_({.has_disk = below != nullptr, .blob_block_bytes = kTierBlock}, arena_.get()),
        tier_({.blob_block_bytes = kTierBlock, .patience = patience},
              {.store = &store_,
               .arena = arena_.get(),
               .below = below,
               .clock = base::Clock::Real(),
               .make_room = [this] { MakeRoom(); },
               .look = [this] { DeleteBelow(); }}) {}
  ~MemoryOver() {
    store_.With([](Store& store) { EXPECT_EQ(store.CheckInvariants(), absl::OkStatus()); });
  }

  // Writes the cheapest objects below, and says so.
  void MakeRoom() {
    if (below_ == nullptr || busy_.exchange(true)) return;
    DemoteSome();
    busy_ = false;
  }
  // All of it.
  void Flush() {
    while (Stats().dirty_bytes > 0) MakeRoom();
  }
  // Evicts what may go: what is below is there only.
  void Empty() {
    store_.With([&](Store& store) {
      const auto all =
          store.Reserve(77, TestBlob(999, arena_->slab_bytes_total()), base::Clock::Real()->Now());
      EXPECT_EQ(all->outcome, Reservation::Outcome::kReserved);
      store.CloseSession(77);
    });
  }
  StoreStats Stats() {
    return store_.With([](Store& store) { return store.Stats(); });
  }

  MemoryTier& tier() { return tier_; }
  LockedStore& store() { return store_; }
  Arena& arena() { return *arena_; }

 private:
  using Runs = std::vector<std::span<std::byte>>;

  void DeleteBelow() {
    if (below_ == nullptr || busy_.exchange(true)) return;
    DeleteDropped();
    busy_ = false;
  }
  void DemoteSome() {
    DeleteDropped();
    std::vector<Demotion> demotions;
    std::vector<Tier::Item> items;
    store_.With([&](Store& store) {
      demotions = store.TakeDemotions(1, /*only_above_watermark=*/false);
      for (const Demotion& demotion : demotions) {
        const Runs runs = RecordSlices(
            arena_->data(), ShapeOf(store, demotion.header, kTierBlock).value(), demotion.blocks);
        items.push_back({demotion.header, {runs.begin(), runs.end()}});
      }
    });
    if (demotions.empty()) return;
    const std::vector<absl::Status> written = below_->Write(items);
    store_.With([&](Store& store) {
      for (size_t i = 0; i < demotions.size(); ++i)
        store.FinishDemotion(demotions[i].id, written[i]);
    });
    tier_.RoomCame();
  }
  void DeleteDropped() {
    const std::vector<RecordKey> drops =
        store_.With([](Store& store) { return store.TakeRecordDrops(); });
    if (!drops.empty()) {
      EXPECT_EQ(below_->Delete(drops), absl::OkStatus());
    }
  }

  Tier* const below_;
  std::unique_ptr<Arena> arena_;
  LockedStore store_;
  MemoryTier tier_;
  std::atomic<bool> busy_{false};  // with the tier below: one at a time, who comes second goes
};

inline std::map<base::Key, base::ObjectHeader> HeadersOf(Tier& tier) {
  std::map<base::Key, base::ObjectHeader> headers;
  EXPECT_TRUE(tier.ForEachRecord([&](base::ObjectHeader header) {
                    headers[header.content] = std::move(header);
                  })
                  .ok());
  return headers;
}

}  // namespace cistern::storage
