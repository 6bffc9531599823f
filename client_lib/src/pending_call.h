// One call in flight, waited for from a thread that is not the link's.
//
//   Start ─► (Wait)* ─► Take | Abandon
//
// Buffers that the call reads from or writes to are kept until the call has ended: who does not
// wait so long gives them to Abandon, or to Start.
//
// Who waits attends the link (link.h), which must therefore be there as long as anybody waits.
//
// Thread   Start, Wait, Take, Abandon: one waiter. The link completes from its own, or on that of
//          whoever attends it
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/mutex.h"
#include "transport/link.h"

namespace cistern::client {

class PendingCall {
 public:
  using LateReply = absl::AnyInvocable<void(absl::StatusOr<transport::Reply>)>;

  // No lock may be held: a link within the process may complete at once, on this thread.
  // `ended` runs before anybody learns of the reply, on whatever thread that is: to give buffers
  // back. It must not block.
  static std::shared_ptr<PendingCall> Start(transport::Link& link, transport::Request request,
                                            transport::CallOptions options,
                                            absl::AnyInvocable<void()> ended = nullptr);

  // The same, ahead of its payload (Link::CallAhead). `fill`: null where it could not be made.
  static std::shared_ptr<PendingCall> StartAhead(transport::Link& link, transport::Request request,
                                                 transport::CallOptions options,
                                                 absl::AnyInvocable<void()> ended,
                                                 std::unique_ptr<transport::PayloadFill>* fill);

  // Whether the reply is there.
  bool Ended() const { return there_.load(std::memory_order_acquire); }

  // True when the reply is there; false at `until`. A link completes each call by its deadline.
  bool WaitUntil(absl::Time until);
  void Wait();

  // After Wait. Once.
  absl::StatusOr<transport::Reply> Take();

  // Nobody waits any more: `late` gets the reply when it comes (or now), on whatever thread that
  // is. It must not block.
  void Abandon(LateReply late);

 private:
  void Complete(absl::StatusOr<transport::Reply> reply);
  void Attend(absl::Duration longest);

  transport::Link* link_ = nullptr;
  std::atomic<bool> there_ = false;
  base::Mutex mutex_;
  base::CondVar done_;
  std::optional<absl::StatusOr<transport::Reply>> reply_ ABSL_GUARDED_BY(mutex_);
  LateReply late_ ABSL_GUARDED_BY(mutex_);
};

// The reply as the type that the request asks for, or the error that it brought.
template <typename ReplyType>
absl::StatusOr<ReplyType> As(absl::StatusOr<transport::Reply> reply) {
  if (!reply.ok()) return std::move(reply).status();
  if (auto* typed = std::get_if<ReplyType>(&*reply)) return std::move(*typed);
  if (auto* error = std::get_if<transport::ErrorReply>(&*reply)) return error->ToStatus();
  return absl::InternalError("the node answered with a reply of another kind");
}

// Whether a call's error ends what the call was a part of: the node is gone, or was too slow. Other
// errors are of one object.
inline bool IsFatal(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status);
}

// Calls and waits.
template <typename ReplyType>
absl::StatusOr<ReplyType> CallNow(transport::Link& link, transport::Request request,
                                  transport::CallOptions options) {
  options.attended = true;
  auto call = PendingCall::Start(link, std::move(request), std::move(options));
  call->Wait();
  return As<ReplyType>(call->Take());
}

}  // namespace cistern::client
