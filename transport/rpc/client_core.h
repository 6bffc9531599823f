// What every link does, whatever carries its messages: numbers and encodes calls, keeps their
// deadlines, decodes replies, checks payloads, and completes each call exactly once on the link's
// lane.
//
//   Begin ─► (the carrier sends the message) ─► OnReply | a deadline | OnDeath
//
// Thread   Begin, Abandon, OnReply, OnDeath, expects, alive: any. Take, Complete, Orphan: the
// lane's.
//          Completions run on the thread that says OnReply or Complete, and else on the lane's
// Errors   of calls: Unavailable (dead), DeadlineExceeded, ResourceExhausted (too many),
//          InvalidArgument (too large), DataLoss (payload checksum), the node's own. OnReply:
//          Internal, for a reply that cannot be read; the link should die of it
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "transport/link.h"
#include "transport/rpc/lane.h"
#include "transport/rpc/pending_calls.h"
#include "transport/wire/codec.h"

namespace cistern::transport {

class ClientCore : public std::enable_shared_from_this<ClientCore> {
 public:
  // Asked, on the lane's thread (it must not call back), whether a call whose deadline has passed
  // may be completed now. If
  // not, because its payload is moving just now, it waits kOverdueGrace longer; then (call.overdue)
  // the peer is stuck, the carrier should give the connection up and must say true.
  using MayExpire = absl::AnyInvocable<bool(const PendingCall& call)>;
  static constexpr absl::Duration kOverdueGrace = absl::Seconds(1);

  // `lane` outlives the core's use: stop calling before stopping the lane.
  ClientCore(Lane* lane, uint32_t max_in_flight) : lane_(lane), pending_(max_in_flight) {}

  // Before the first call.
  void SetMayExpire(MayExpire may_expire) { may_expire_ = std::move(may_expire); }

  struct Begun {
    uint64_t call_id = 0;
    std::string message;  // to be sent
  };
  // Registers and encodes a call. When it cannot be, its completion runs (on the lane's thread) and
  // nothing is returned. After this the carrier sends; if that fails it says Abandon.
  // `carrier_data` is kept in the PendingCall.
  std::optional<Begun> Begin(const Request& request, CallOptions options, Completion done,
                             uint64_t carrier_data = 0);

  // Completes a call that was never begun, on the lane's thread.
  void Refuse(Completion done, absl::Status status);

  // The call could not be sent: completes it with `status`, unless something else has.
  void Abandon(uint64_t call_id, absl::Status status);

  // A whole reply has come, its payload lying in the receive slices already (carriers that write in
  // place). An error means that the peer talks nonsense: the carrier should close the connection
  // and say OnDeath.
  absl::Status OnReply(std::span<const std::byte> message);

  // For carriers that bring the payload after the message: take the call, receive into
  // call.receive, then Complete it. Take returns nothing when nobody waits for it any more.
  std::optional<PendingCall> Take(uint64_t call_id) { return pending_.Take(call_id); }
  // Checks sizes and checksum of what came, then runs the completion.
  void Complete(PendingCall call, ReplyEnvelope envelope);
  void Fail(PendingCall call, absl::Status status);
  // A reply that nobody waits for: to CallOptions::late of a call that has expired, if it was one.
  void Orphan(const ReplyEnvelope& envelope);

  // The connection is gone: completes all that wait with `status`, refuses what comes. Idempotent.
  void OnDeath(absl::Status status);
  // Whether a reply may still come that somebody wants.
  bool expects();
  bool alive() const { return alive_.load(std::memory_order_acquire); }

 private:
  // What OnReply finds under a call id: the call that waits, or who wants its late reply.
  std::optional<PendingCall> TakeOr(uint64_t call_id, std::function<void(const Reply&)>* late);
  void CompleteOnLane(std::vector<PendingCall> calls, absl::Status status);
  // Makes sure that the lane looks for deadlines by then. Any thread.
  void Lower(MonoTime deadline);
  // The lane's thread.
  void ArmTimer();
  void RunExpired();
  std::vector<PendingCall> TakeExpired();  // those that may be completed

  Lane* const lane_;
  PendingCalls pending_;
  MayExpire may_expire_;
  std::atomic<bool> alive_{true};
  // When the lane looks for deadlines next. Never later than the first deadline; it may be earlier,
  // since calls that have been answered do not move it: one wake-up per longest deadline, not one
  // per call.
  std::atomic<MonoTime> armed_{kNever};
  // A reply finds its call waiting or expired, never in between.
  base::Mutex expiry_;
  // Calls that have expired and want their reply nevertheless. The least id is the oldest.
  std::map<uint64_t, std::function<void(const Reply&)>> orphans_ ABSL_GUARDED_BY(expiry_);
  MonoTime timer_when_ = kNever;  // lane thread's
  Lane::TimerId timer_ = 0;       // lane thread's; 0 = none
};

// The checks on a reply's payload that every carrier shares. DataLoss when a Read's checksum does
// not match, Internal when another number of bytes came than was asked for.
absl::Status CheckReplyPayload(const ReplyEnvelope& envelope,
                               const std::vector<MutableSlice>& receive);

}  // namespace cistern::transport
