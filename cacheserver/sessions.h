// Who is connected, and what each session holds: leases, reservations, reads on their way out.
//
//   Open ─► (Acquire | Release | Reserve | Commit | Abort | BeginRead ─► EndRead)* ─► Close
//
// Close releases everything, but not under the feet of a reply that is still being sent: then it
// waits for the last EndRead. After Close nothing can be acquired or reserved any more, whatever
// thread still works for the session.
//
// Thread   under the store's lock: the Store& that every call takes is the proof of it
// Errors   Cancelled: the session has gone. ResourceExhausted: a limit of the session
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "storage/store.h"
#include "transport/service.h"

namespace cistern::cacheserver {

struct SessionLimits {
  uint32_t leases = 65536;
  uint32_t reservations = 16384;
};

// One object that is being read: what Reply's payload is made of.
struct HeldObject {
  const storage::StoredHeader* header = nullptr;  // valid until the lock is released
  std::vector<base::BlockRef> blocks;
};

class Sessions {
 public:
  using Id = transport::SessionId;

  struct Summary {
    Id id = 0;
    transport::SessionInfo info;
    absl::Time opened;
    uint64_t leases = 0;
    uint64_t reservations = 0;
    uint64_t reads = 0;
    bool closing = false;
  };

  explicit Sessions(const SessionLimits& limits) : limits_(limits) {}

  void Open(storage::Store& store, Id id, const transport::SessionInfo& info, absl::Time now);
  void Close(storage::Store& store, Id id);
  // The session's place and rights; nullptr when it is not open.
  const transport::SessionInfo* Info(storage::Store& store, Id id) const;

  // The second appends the blocks.
  absl::StatusOr<storage::Lease> Acquire(storage::Store& store, Id id, storage::ObjectId object,
                                         absl::Time now);
  absl::StatusOr<storage::LeaseId> Acquire(storage::Store& store, Id id,
                                           const storage::ObjectView& object, absl::Time now,
                                           std::vector<base::BlockRef>* blocks);
  // A lease that is not held (any more) is no error: it may have expired.
  void Release(storage::Store& store, Id id, storage::LeaseId lease);

  absl::StatusOr<storage::Reservation> Reserve(storage::Store& store, Id id,
                                               const base::ObjectHeader& header, absl::Time now);
  absl::StatusOr<storage::ObjectId> Commit(storage::Store& store, Id id,
                                           storage::ReservationId reservation, absl::Time now);
  absl::Status Abort(storage::Store& store, Id id, storage::ReservationId reservation);

  // All or nothing. Until EndRead of the same leases their blocks stay, whatever is released or
  // closed.
  absl::StatusOr<std::vector<HeldObject>> BeginRead(storage::Store& store, Id id,
                                                    const std::vector<storage::LeaseId>& leases);
  void EndRead(storage::Store& store, Id id, const std::vector<storage::LeaseId>& leases);

  // Takes back leases and reservations that are older than `max_age`, but for what is being read
  // out; returns how many. A worker
  // that gave up on a call does not know what it was given.
  uint64_t Expire(storage::Store& store, absl::Time now, absl::Duration max_age);

  std::vector<Summary> List(const storage::Store& store, size_t limit) const;

 private:
  struct Session {
    transport::SessionInfo info;
    absl::Time opened;
    bool closing = false;
    absl::flat_hash_map<storage::ReservationId, absl::Time> reservations;  // since when
    absl::flat_hash_map<storage::LeaseId, uint32_t> reads;                 // on their way out
    absl::flat_hash_set<storage::LeaseId> release_when_read;
  };

  absl::StatusOr<Session*> Find(Id id);
  absl::Status CheckLeases(const storage::Store& store, Id id);
  void FinishClose(storage::Store& store, Id id);

  const SessionLimits limits_;
  absl::flat_hash_map<Id, Session> sessions_;
};

}  // namespace cistern::cacheserver
