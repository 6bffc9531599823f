// Brings objects from disk into memory. Several who want the same object wait for one read.
//
//   With the lock: Stage(store, id, waiter) ─► a disk thread reads ─► waiter(store, outcome),
//   locked
//
// Thread   Stage: under the store's lock. Reads and waiters run on the disk threads
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "cacheserver/counters.h"
#include "cacheserver/locked_store.h"
#include "cacheserver/log.h"
#include "cacheserver/work_pool.h"
#include "storage/arena.h"
#include "storage/tier/disk_tier.h"

namespace cistern::cacheserver {

class Stager {
 public:
  // What it uses; all outlive it. `room_came` runs after every read: a failed one frees blocks.
  struct Parts {
    LockedStore* store;
    storage::Arena* arena;
    storage::DiskTier* disk;
    WorkPool* disk_pool;
    Counters* counters;
    Log* log;
    uint64_t blob_block_bytes;
    absl::AnyInvocable<void()> room_came;
  };

  // Runs once, under the lock, if Stage answered kStarted: OK, the object is in memory; anything
  // else, it is not. What must follow outside the lock goes into `after`.
  using Waiter =
      absl::AnyInvocable<void(storage::Store& store, const absl::Status& read, AfterLock& after)>;

  enum class Outcome : uint8_t { kStarted, kInMemory, kNoRoom, kGone };

  explicit Stager(Parts parts) : parts_(std::move(parts)) {}

  Outcome Stage(storage::Store& store, storage::ObjectId id, absl::Time now, Waiter waiter);

 private:
  void Read(storage::ObjectId id, const storage::Staging& staging);
  // Under the lock.
  void Finish(storage::Store& store, storage::ObjectId id, const absl::Status& read,
              AfterLock& after);

  Parts parts_;
  absl::flat_hash_map<storage::ObjectId, std::vector<Waiter>> waiters_;  // the store's lock
};

}  // namespace cistern::cacheserver
