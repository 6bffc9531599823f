// Brings objects from the tier below into memory. Several who want the same object wait for one
// read.
//
//   With the lock: Stage(store, id, waiter) ─► a thread of a pool reads ─► waiter(store, outcome),
//   locked
//
// Thread   Stage: under the store's lock. Reads and waiters run on the disk threads; what a tier of
//          memory has at hand is copied on the copy threads instead, and waits for no disk
#pragma once

#include <atomic>
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
#include "storage/tier/tier.h"

namespace cistern::cacheserver {

class Stager {
 public:
  // What it uses; all outlive it. `room_came` runs after every read: a failed one frees blocks.
  struct Parts {
    LockedStore* store;
    storage::Arena* arena;
    storage::Tier* below;
    WorkPool* disk_pool;
    Counters* counters;
    Log* log;
    uint64_t blob_block_bytes;
    absl::AnyInvocable<void()> room_came;
    WorkPool* copy_pool = nullptr;  // for a tier below that is memory; else nullptr
  };

  // Runs once, under the lock, if Stage answered kStarted: OK, the object is in memory; anything
  // else, it is not. What must follow outside the lock goes into `after`.
  using Waiter =
      absl::AnyInvocable<void(storage::Store& store, const absl::Status& read, AfterLock& after)>;

  enum class Outcome : uint8_t { kStarted, kInMemory, kNoRoom, kGone };

  explicit Stager(Parts parts) : parts_(std::move(parts)) {}

  Outcome Stage(storage::Store& store, storage::ObjectId id, absl::Time now, Waiter waiter);
  // Reads that have not begun are Cancelled: nobody waits for them any more.
  void Stop() { stopping_ = true; }

 private:
  // On the pool where it waits for nothing that it does not need. False: too many wait.
  bool Post(storage::ObjectId id, storage::Staging staging);
  bool PostRead(storage::ObjectId id, storage::Staging staging);
  void Read(storage::ObjectId id, const storage::Staging& staging);
  void Finish(storage::ObjectId id, const absl::Status& read);
  // Under the lock.
  void Finish(storage::Store& store, storage::ObjectId id, const absl::Status& read,
              AfterLock& after);

  Parts parts_;
  std::atomic<bool> stopping_ = false;
  absl::flat_hash_map<storage::ObjectId, std::vector<Waiter>> waiters_;  // the store's lock
};

}  // namespace cistern::cacheserver
