// Host memory below a device arena: a store of its own, the tier that the store above sees in it,
// and the demoter that writes it to disk.
//
//   Open ─► (the store is told what the disk holds) ─► Start ─► Stop
//
// The store above decides what is kept and for how long: this one has no time to live, no quotas
// and no limit of variants, but the same policy and priorities where room is needed.
//
// Thread   Open, Start, Stop: one. The rest: any
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "base/clock.h"
#include "cacheserver/config.h"
#include "cacheserver/counters.h"
#include "cacheserver/demoter.h"
#include "cacheserver/forget_lost.h"
#include "cacheserver/locked_store.h"
#include "cacheserver/log.h"
#include "cacheserver/model_book.h"
#include "storage/arena.h"
#include "storage/tier/disk_tier.h"
#include "storage/tier/memory_tier.h"

namespace cistern::cacheserver {

class HostLevel {
 public:
  // What it uses; all outlive it.
  struct Parts {
    const NodeConfig* config;
    storage::DiskTier* disk;  // nullptr: none; then what this memory has no room for is gone
    Counters* counters;
    Log* log;
    const base::Clock* clock;
    uint64_t blob_block_bytes;
  };

  // `arena`: of pool_bytes.
  HostLevel(const Parts& parts, std::unique_ptr<storage::Arena> arena);
  ~HostLevel();  // Stop
  HostLevel(const HostLevel&) = delete;
  HostLevel& operator=(const HostLevel&) = delete;

  void Start();
  // Have a look: is there something to write to disk, or to delete there?
  void Kick() {
    if (demoter_ != nullptr) demoter_->Kick();
  }
  // What has been dropped here, or below, is no more in the store above either; some of it in each
  // call. One thread at a time.
  uint64_t ForgetLost(LockedStore& above) { return lost_.Forget(above, kMaxLookedAt); }
  // Whoever waits for room here waits no longer.
  void StopWaiting() { tier_.StopWaiting(); }
  // Ends the demoter after the flushes that it has been asked for. Idempotent.
  void Stop();

  storage::Arena& arena() { return *arena_; }
  LockedStore& store() { return store_; }
  ModelBook& models() { return models_; }
  storage::MemoryTier& tier() { return tier_; }
  Demoter* demoter() { return demoter_.get(); }  // nullptr without a disk, or before Start

 private:
  static constexpr uint32_t kMaxLookedAt = 4096;  // objects, of one ForgetLost

  const Parts parts_;
  const std::unique_ptr<storage::Arena> arena_;
  LockedStore store_;
  ModelBook models_;
  storage::MemoryTier tier_;
  LostObjects lost_{&store_, &tier_};
  std::unique_ptr<Demoter> demoter_;
};

// Everything from memory to the last tier: `upper` to the tier below it, then `lower`, if there is
// one. The report counts what reached the last tier, and what failed or is left in any. `done` runs
// on the last one's thread.
void FlushTiers(Demoter& upper, Demoter* lower, absl::Time give_up,
                absl::AnyInvocable<void(FlushReport)> done);

}  // namespace cistern::cacheserver
