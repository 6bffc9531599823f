#include "client_lib/src/pending_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"

namespace cistern::client {

std::shared_ptr<PendingCall> PendingCall::Start(transport::Link& link, transport::Request request,
                                                transport::CallOptions options,
                                                absl::AnyInvocable<void()> ended) {
  auto call = std::make_shared<PendingCall>();
  call->link_ = &link;
  link.Call(std::move(request), std::move(options),
            [call, ended = std::move(ended)](absl::StatusOr<transport::Reply> reply) mutable {
              if (ended != nullptr) ended();
              call->Complete(std::move(reply));
            });
  return call;
}

std::shared_ptr<PendingCall> PendingCall::StartAhead(
    transport::Link& link, transport::Request request, transport::CallOptions options,
    absl::AnyInvocable<void()> ended, std::unique_ptr<transport::PayloadFill>* fill) {
  auto call = std::make_shared<PendingCall>();
  call->link_ = &link;
  *fill = link.CallAhead(
      std::move(request), std::move(options),
      [call, ended = std::move(ended)](absl::StatusOr<transport::Reply> reply) mutable {
        if (ended != nullptr) ended();
        call->Complete(std::move(reply));
      });
  return call;
}

void PendingCall::Complete(absl::StatusOr<transport::Reply> reply) {
  LateReply late;
  {
    base::MutexLock lock(&mutex_);
    late = std::move(late_);
    if (!late) {
      reply_.emplace(std::move(reply));
      there_.store(true, std::memory_order_release);
      done_.notify_all();  // under the lock: the waiter may destroy this once it has seen it
      return;
    }
  }
  late(std::move(reply));
}

bool PendingCall::WaitUntil(absl::Time until) {
  const auto left = [&] {
    return std::clamp(until - absl::Now(), absl::ZeroDuration(), absl::Hours(24));
  };
  Attend(left());  // also where there is no time left: who has said that he would must
  mutex_.lock();
  const auto there = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return reply_.has_value(); };
  const bool done = there() || done_.wait_for(mutex_, absl::ToChronoNanoseconds(left()), there);
  mutex_.unlock();
  return done;
}

void PendingCall::Attend(absl::Duration longest) {
  const auto there = [this] { return there_.load(std::memory_order_acquire); };
  if (!there()) link_->Attend(there, longest);
}

void PendingCall::Wait() {
  Attend(absl::InfiniteDuration());
  mutex_.lock();
  done_.wait(mutex_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return reply_.has_value(); });
  mutex_.unlock();
}

absl::StatusOr<transport::Reply> PendingCall::Take() {
  base::MutexLock lock(&mutex_);
  return std::move(*reply_);
}

void PendingCall::Abandon(LateReply late) {
  std::optional<absl::StatusOr<transport::Reply>> there;
  {
    base::MutexLock lock(&mutex_);
    there = std::move(reply_);
    if (!there.has_value()) {
      late_ = std::move(late);
      return;
    }
  }
  late(*std::move(there));
}

}  // namespace cistern::client
