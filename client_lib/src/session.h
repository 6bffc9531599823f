// One link to a node and what belongs to it: the models that it knows, leases to give back, staging
// buffers.
//
// Shared by the client and by every plan, fetch and publish that began on it. A link that has died
// stays dead; the client takes another session.
//
// Thread   any
#pragma once

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
  bool alive() const { return link_->alive(); }
  bool mapped() const { return link_->arena() != nullptr; }
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

  // Gives leases back, without waiting.
  void Release(std::vector<transport::LeaseId> leases);

  // Leases in replies that nobody waits for any more. They go back with the next Release or Find: a
  // completion must not call.
  class LateLeases {
   public:
    void Add(const transport::FindReply& reply);
    void Add(const transport::LeaseReply& reply);
    std::vector<transport::LeaseId> TakeAll();

   private:
    base::Mutex mutex_;
    std::vector<transport::LeaseId> leases_ ABSL_GUARDED_BY(mutex_);
  };
  std::shared_ptr<LateLeases> late_leases() { return late_; }
  void ReleaseLate() { Release({}); }

 private:
  void Forget(const Model& model);

  const std::unique_ptr<transport::Link> link_;
  const absl::Duration call_deadline_;
  Staging staging_;  // its buffers go before the link does
  const std::shared_ptr<LateLeases> late_ = std::make_shared<LateLeases>();
  base::Mutex mutex_;
  std::set<base::Key> introduced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::client
