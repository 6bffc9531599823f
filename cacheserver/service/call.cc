#include "cacheserver/service/call.h"

#include <algorithm>
#include <chrono>

namespace cistern::cacheserver {
namespace {

constexpr absl::Duration kLongestWait = absl::Minutes(10);
constexpr absl::Duration kLeastMargin = absl::Milliseconds(2);
constexpr absl::Duration kMostMargin = absl::Milliseconds(200);

absl::Time AnswerBy(absl::Time deadline, absl::Time now) {
  const absl::Duration left = std::min(deadline - now, kLongestWait);
  return now +
         std::max(left - std::clamp(left / 10, kLeastMargin, kMostMargin), absl::ZeroDuration());
}

}  // namespace

CallGate::Pass CallGate::Enter() {
  base::MutexLock lock(&mutex_);
  if (closed_) return Pass();
  ++in_progress_;
  return Pass(this);
}

void CallGate::Leave() {
  base::MutexLock lock(&mutex_);
  if (--in_progress_ == 0) idle_.notify_all();
}

void CallGate::Close() {
  base::MutexLock lock(&mutex_);
  closed_ = true;
}

bool CallGate::closed() const {
  base::MutexLock lock(&mutex_);
  return closed_;
}

bool CallGate::WaitIdle(absl::Duration timeout) {
  const auto idle = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return in_progress_ == 0; };
  base::MutexLock lock(&mutex_);
  if (timeout < absl::Hours(1))
    return idle_.wait_for(mutex_, absl::ToChronoNanoseconds(timeout), idle);
  idle_.wait(mutex_, idle);
  return true;
}

uint64_t CallGate::in_progress() const {
  base::MutexLock lock(&mutex_);
  return in_progress_;
}

Call::Call(std::unique_ptr<transport::ServerCall> call, Counters* counters, CallGate::Pass pass,
           absl::Time now)
    : call_(std::move(call)),
      counters_(counters),
      pass_(std::move(pass)),
      answer_by_(AnswerBy(call_->deadline(), now)) {}

Call::~Call() { Fail(absl::InternalError("the node dropped the call without an answer")); }

void Call::Answer(transport::Reply reply) {
  if (!answered_.exchange(true)) call_->Reply(std::move(reply));
}

void Call::AnswerWithPayload(transport::Reply reply, std::vector<transport::Slice> payload,
                             absl::AnyInvocable<void()> sent) {
  if (answered_.exchange(true)) return sent();
  call_->Reply(std::move(reply), std::move(payload),
               [sent = std::move(sent), pass = std::move(pass_)]() mutable { sent(); });
}

void Call::Fail(const absl::Status& status) {
  if (answered_.exchange(true)) return;
  counters_->CountError(kind(), status.code());
  call_->Fail(status);
}

}  // namespace cistern::cacheserver
