// A store as the tier below another one: host memory below device memory.
//
//   Write    reserve ─► copy ─► commit; what is there already is not copied again
//   Read     lease ─► copy ─► release. What lies on the tier below is read into this store's
//            memory first, where it stays for the next time; when there is no room for it, it is
//            read straight through
//   Delete   evicts; the record below is deleted by whoever writes this store's objects below
//
// An object here is as durable as this store makes it: it reaches the tier below when its own
// demotion comes.
//
// Waiting  A Write that finds no room asks for it (make_room) and waits for RoomCame, at most
//          `patience` in all; then what had no room is DeadlineExceeded: it stays where it was, to
//          be written again. Nothing else waits for room, and nothing waits while it holds a
//          reservation
// Thread   any. This store's lock is taken inside that of the store above, never the other way
// Errors   as a Tier has them. ResourceExhausted: larger than this store's memory.
//          FailedPrecondition: of an unknown model. InvalidArgument: no such object could be,
//          or the payload is of another size
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"
#include "storage/arena.h"
#include "storage/locked_store.h"
#include "storage/tier/tier.h"

namespace cistern::storage {

struct MemoryTierOptions {
  uint64_t blob_block_bytes = 64 << 10;  // the store's
  absl::Duration patience = absl::Seconds(30);
};

struct MemoryTierStats {
  uint64_t copied_in = 0, copied_in_bytes = 0;    // by Write
  uint64_t already_there = 0;                     // written without a copy
  uint64_t copied_out = 0, copied_out_bytes = 0;  // by Read
  uint64_t staged = 0;                            // of those, read from below first
  uint64_t read_through = 0;                      // from below, past this memory
  uint64_t waits = 0;                             // for room
  uint64_t refused = 0;                           // objects that waited in vain
};

class MemoryTier final : public Tier {
 public:
  // What it uses; all outlive it. The functions are called without this store's lock, any may be
  // empty.
  struct Parts {
    LockedStore* store = nullptr;
    Arena* arena = nullptr;
    Tier* below = nullptr;  // nullptr: this is the last tier
    const base::Clock* clock = nullptr;
    std::function<void()> make_room;  // write something below soon, whatever the watermark says
    std::function<void()> look;       // something may be to write or to delete below
  };

  MemoryTier(const MemoryTierOptions& options, Parts parts);

  // To the store, and to the tiers below when it is new here. The store forgets models that have no
  // objects: whoever writes one puts its model first.
  absl::Status PutModel(const base::ModelSpec& spec) override;
  absl::Status DeleteModel(const base::Key& fingerprint) override;
  absl::Status ForEachModel(absl::FunctionRef<void(const base::ModelSpec&)> each) override;
  // `each` runs under the lock.
  absl::Status ForEachRecord(absl::FunctionRef<void(base::ObjectHeader)> each) override;
  std::vector<absl::Status> Write(const std::vector<Item>& items) override;
  absl::Status Read(const RecordKey& key,
                    const std::vector<std::span<std::byte>>& payload) override;
  bool InMemory(const RecordKey& key) override;
  // In memory or below.
  bool Contains(const RecordKey& key);
  absl::Status Delete(const std::vector<RecordKey>& keys) override;
  // What lies below is read there; what lies in memory, too, is compared with it, and whichever of
  // the two is wrong is used no more: Unavailable says that this happened, and that the other one
  // is sound.
  absl::Status Verify(const RecordKey& key) override;

  // Memory was freed, or may be now: Writes that wait try again.
  void RoomCame();
  // Writes wait no longer, now and from now on.
  void StopWaiting();
  MemoryTierStats Stats() const;

 private:
  using Runs = std::vector<std::span<std::byte>>;

  // How a Read gets its bytes.
  struct Source {
    enum class Kind : uint8_t { kLeased, kStaging, kBelow };
    Kind kind = Kind::kBelow;
    ObjectId id = 0;
    LeaseId lease = 0;
    Runs runs;  // in memory; empty for kBelow
  };
  enum class Attempt : uint8_t { kReserved, kAlreadyThere, kWait };
  class Counters {
   public:
    std::atomic<uint64_t> copied_in{0}, copied_in_bytes{0}, already_there{0}, copied_out{0},
        copied_out_bytes{0}, staged{0}, read_through{0}, waits{0}, refused{0};
  };

  // ---- Under the store's lock
  ObjectView FindOwn(Store& store, const RecordKey& key);
  bool IsCondemned(Store& store, const RecordKey& key);
  // Evicts; who is held by a reader or by the disk is found no more, and goes later.
  void Remove(Store& store, ObjectId id);
  void RemoveCondemned(Store& store);
  absl::StatusOr<Source> Locate(Store& store, const RecordKey& key);
  absl::Status Lease(Store& store, Source& source);
  absl::StatusOr<Attempt> TryReserve(Store& store, const Item& item, Reservation* reservation,
                                     Runs* runs);

  // ---- Without it
  absl::Status WriteOne(const Item& item, absl::Time give_up);
  absl::Status Fill(const Item& item, const Reservation& reservation, const Runs& runs);
  // False when there is no time left to wait.
  bool WaitForRoom(uint64_t seen, absl::Time give_up);
  absl::Status Stage(const RecordKey& key, Source& source);
  absl::Status ReadThrough(const RecordKey& key, ObjectId id, const Runs& payload);
  void Release(const Source& source);
  void Look() const;

  const MemoryTierOptions options_;
  const Parts parts_;
  Counters counters_;
  absl::flat_hash_set<ObjectId> condemned_;  // deleted, and still held; under the store's lock

  base::Mutex mutex_;
  base::CondVar changed_;
  uint64_t rooms_ ABSL_GUARDED_BY(mutex_) = 0;  // RoomCame calls
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace cistern::storage
