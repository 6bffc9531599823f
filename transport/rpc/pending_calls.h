// The calls of one link that wait for their reply: call id -> completion, with deadlines.
//
// Who takes a call out completes it, and only one can: the reply (Take), its deadline (TakeExpired)
// or the connection's death (Close). Completions never run inside this class, so never under its
// lock.
//
// A carrier that needs time to bring the reply's payload in takes the call first and then owns its
// fate: it must run `done` itself, by `deadline`, whatever the peer does.
//
// Thread   any
// Errors   Add: ResourceExhausted when max_in_flight calls wait; after Close, the status that it
//          was given
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "transport/link.h"
#include "transport/rpc/mono_time.h"

namespace cistern::transport {

struct PendingCall {
  uint64_t call_id = 0;
  MonoTime deadline = kNever;
  std::vector<Slice> send;  // kept for the carrier: the caller's buffers, borrowed until `done`
  std::vector<MutableSlice> receive;
  uint64_t carrier_data = 0;  // the carrier's own
  bool overdue = false;       // its deadline has passed once, and it was put back
  Completion done;
  std::function<void(const Reply&)> late;  // CallOptions'
};

class PendingCalls {
 public:
  explicit PendingCalls(uint32_t max_in_flight) : max_in_flight_(max_in_flight) {}
  ~PendingCalls();  // completes what is left with Cancelled
  PendingCalls(const PendingCalls&) = delete;
  PendingCalls& operator=(const PendingCalls&) = delete;

  // Registers the call and gives it an id (1, 2, ...). On an error `call` is untouched: the caller
  // completes it.
  absl::StatusOr<uint64_t> Add(PendingCall& call);

  // Nothing when nobody waits for it (any more).
  std::optional<PendingCall> Take(uint64_t call_id);

  // Those whose deadline is at or before `now`.
  std::vector<PendingCall> TakeExpired(MonoTime now);

  // Puts an expired call back under its id, with a new deadline and beyond the limit. False after
  // Close: the caller still has it.
  bool PutBack(PendingCall& call);

  // Refuses all further calls with `status` and hands out those that wait. The first status stays.
  std::vector<PendingCall> Close(absl::Status status);

  // The deadline of whichever call's comes first; kNever when none waits.
  MonoTime NextDeadline();

  size_t size();

 private:
  using Due = std::pair<MonoTime, uint64_t>;  // deadline, call id

  void ForgetTakenDeadlines() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint32_t max_in_flight_;
  base::Mutex mutex_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, PendingCall> calls_ ABSL_GUARDED_BY(mutex_);
  // A heap of deadlines; those of calls that have been taken are dropped when they come up, or when
  // they are the most.
  std::vector<Due> due_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::transport
