// One request on its way through the node: answered once, counted, and waited for when the node
// stops.
//
// Thread   any, one at a time; handlers share it by CallPtr
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"
#include "cacheserver/counters.h"
#include "transport/service.h"

namespace cistern::cacheserver {

// Counts calls in progress; closed, it admits no more.
class CallGate {
 public:
  // Holds one place; gives it back at its end. Empty when the gate was closed.
  class Pass {
   public:
    Pass() = default;
    explicit Pass(CallGate* gate) : gate_(gate) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    CallGate* gate_ = nullptr;
  };

  Pass Enter();
  void Close();
  bool closed() const;
  // False when calls are still in progress after `timeout`.
  bool WaitIdle(absl::Duration timeout);
  uint64_t in_progress() const;

 private:
  void Leave();

  mutable base::Mutex mutex_;
  base::CondVar idle_;
  uint64_t in_progress_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

class Call {
 public:
  // A checksum of so many bytes a lane makes itself: to wake a copy thread for it costs more.
  static constexpr uint64_t kChecksumHereBytes = 256 << 10;

  Call(std::unique_ptr<transport::ServerCall> call, Counters* counters, CallGate::Pass pass,
       absl::Time now);
  ~Call();  // Internal, if nobody answered
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  size_t kind() const { return call_->request().index(); }
  transport::SessionId session() const { return call_->session(); }
  uint64_t payload_bytes() const { return call_->payload_bytes(); }
  bool payload_follows() const { return call_->payload_follows(); }
  bool carrier_checks(uint64_t payload_bytes) const { return call_->checks(payload_bytes); }
  bool lane_moves() const { return call_->lane_moves(); }
  bool admitted() const { return static_cast<bool>(pass_); }

  template <typename T>
  T& request() {
    return std::get<T>(call_->request());
  }

  // The caller waits until its deadline; the answer leaves a little before it.
  absl::Time answer_by() const { return answer_by_; }

  void ReceivePayload(std::vector<transport::MutableSlice> into,
                      absl::AnyInvocable<void(absl::Status)> done) {
    call_->ReceivePayload(std::move(into), std::move(done));
  }

  void Answer(transport::Reply reply);
  // `sent` runs when `payload` is no longer needed; until then the call counts as in progress.
  void AnswerWithPayload(transport::Reply reply, std::vector<transport::Slice> payload,
                         absl::AnyInvocable<void()> sent);
  void Fail(const absl::Status& status);

 private:
  std::unique_ptr<transport::ServerCall> call_;
  Counters* const counters_;
  CallGate::Pass pass_;
  absl::Time answer_by_;
  std::atomic<bool> answered_{false};
};

using CallPtr = std::shared_ptr<Call>;

}  // namespace cistern::cacheserver
