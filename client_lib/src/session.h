// One link to a node and what belongs to it: the models that it knows, leases to give back, staging
// buffers.
//
// Shared by the client and by every plan, fetch and publish that began on it. A link that has died
// stays dead; the client takes another session.
//
// Thread   any
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/key.h"
#include "base/mutex.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/pending_call.h"
#include "client_lib/src/staging.h"
#include "client_lib/src/store_choice.h"
#include "transport/link.h"

namespace cistern::client {

class Session {
 public:
  Session(std::unique_ptr<transport::Link> link, absl::Duration call_deadline,
          uint64_t max_staging_bytes)
      : link_(std::move(link)),
        call_deadline_(call_deadline),
        staging_(link_.get(), max_staging_bytes) {}

  transport::Link& link() { return *link_; }
  Staging& staging() { return staging_; }
  const Staging& staging() const { return staging_; }
  StoreChoice& followed_stores() { return followed_stores_; }  // of what the node follows
  bool alive() const { return link_->alive(); }
  bool mapped() const { return link_->arena() != nullptr; }
  // Of what is to be sent with a call; 0 where nobody has to check it.
  uint64_t Checksum(const std::vector<transport::Slice>& payload) const;
  uint64_t incarnation() const { return link_->node().incarnation; }
  absl::Duration call_deadline() const { return call_deadline_; }

  // A deadline for a call that should also end by `until`. At least a millisecond.
  absl::Duration CallDeadline(absl::Time until) const;

  // Tells the node about `model`, once.
  absl::Status Introduce(const Model& model, absl::Time until);

  // Runs `call` (returning a StatusOr) after Introduce; again, once, if the node has forgotten the
  // model meanwhile.
  template <typename Fn>
  auto WithModel(const Model& model, absl::Time until, Fn call) -> decltype(call()) {
    if (absl::Status known = Introduce(model, until); !known.ok()) return known;
    auto reply = call();
    if (!absl::IsFailedPrecondition(reply.status())) return reply;
    Forget(model);
    if (absl::Status known = Introduce(model, until); !known.ok()) return known;
    return call();
  }

  // Gives leases back, without waiting; and what is late.
  void Release(std::vector<transport::LeaseId> leases);
  // Gives reservations up, likewise.
  void Abort(std::vector<transport::ReservationId> reservations);
  void GiveBackLate() { Release({}); }
  // The same, but for leases that one call can give back on its way: those are the caller's now.
  std::vector<transport::LeaseId> TakeLate();
  // These go with what is late: to tell the node at once may wake it, which costs who tells it.
  void ReleaseLater(std::vector<transport::LeaseId> leases) {
    late_->Add(transport::ReleaseRequest{std::move(leases)});
  }

  // What is to be given back and has not been: leases and reservations in replies that nobody waits
  // for any more, those whose giving back the node has refused for now, and ReleaseLater's. They go
  // with the next Release, Abort, plan or publish, or when a fetch thread looks: a completion must
  // not call.
  class LateBook {
   public:
    void Add(const transport::Reply& reply);
    void Add(const transport::ReleaseRequest& request);
    void Add(const transport::AbortRequest& refused);
    // Somebody has left a call whose reply may bring something: it is still out, it has ended.
    void Expect() { ++expected_; }
    void Came() { --expected_; }
    bool expects() const { return expected_ > 0; }
    std::vector<transport::LeaseId> TakeLeases(size_t most = SIZE_MAX);
    std::vector<transport::ReservationId> TakeReservations();

   private:
    std::atomic<uint32_t> expected_ = 0;
    base::Mutex mutex_;
    std::vector<transport::LeaseId> leases_ ABSL_GUARDED_BY(mutex_);
    std::vector<transport::ReservationId> reservations_ ABSL_GUARDED_BY(mutex_);
  };
  std::shared_ptr<LateBook> late_book() { return late_; }
  // For CallOptions::late of a call whose reply brings leases or reservations.
  std::function<void(const transport::Reply&)> KeepLate() {
    return [late = late_](const transport::Reply& reply) { late->Add(reply); };
  }

 private:
  void Forget(const Model& model);
  void SendReleases(const std::vector<transport::LeaseId>& leases);
  void SendAborts(const std::vector<transport::ReservationId>& reservations);

  const std::unique_ptr<transport::Link> link_;
  const absl::Duration call_deadline_;
  Staging staging_;  // its buffers go before the link does
  StoreChoice followed_stores_;
  const std::shared_ptr<LateBook> late_ = std::make_shared<LateBook>();
  base::Mutex mutex_;
  std::set<base::Key> introduced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::client
