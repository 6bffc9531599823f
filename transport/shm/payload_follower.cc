#include "transport/shm/payload_follower.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kStepBytes = 64 << 10;  // between two looks at the counter

absl::Status StoppedWaiting() { return absl::UnavailableError("the worker has stopped waiting"); }

}  // namespace

PayloadFollower::PayloadFollower(Lane* lane, const ResolvedPayload& payload,
                                 std::vector<MutableSlice> into, MonoTime deadline, bool may_look,
                                 Received done)
    : lane_(lane),
      tickets_(payload.tickets),
      ticket_(payload.ticket),
      keep_(payload.keep),
      bytes_(TotalBytes(payload.send)),
      deadline_(deadline),
      may_look_(may_look),
      steps_(payload.send, std::move(into)),
      done_(std::move(done)) {
  lookout_.Begin(true);  // what is being written comes soon
  lookout_.Came();
}

void PayloadFollower::Start() { Run(); }

void PayloadFollower::Stop(absl::Status status) {
  if (std::exchange(ended_, true)) return;
  StreamSteps::Fence();
  if (timer_ != 0) lane_->CancelTimer(std::exchange(timer_, 0));
  keep_.clear();  // counts as the session's as long as it is kept
  tickets_.reset();
  done_(std::move(status));
}

void PayloadFollower::Wake() {
  if (timer_ == 0) return;
  lane_->CancelTimer(std::exchange(timer_, 0));
  Run();
}

void PayloadFollower::Run() {
  const std::shared_ptr<PayloadFollower> self = shared_from_this();  // `done` may drop the rest
  switch (Turn()) {
    case Next::kMore:
      lane_->Post([self] { self->Run(); });
      return;
    case Next::kSilent:
      timer_ = lane_->AddTimer(std::min(deadline_, After(MonoNow(), kPause)), [self] {
        self->timer_ = 0;
        self->Run();
      });
      return;
    case Next::kEnded:
      return;
  }
}

PayloadFollower::Next PayloadFollower::Turn() {
  const MonoTime begun = MonoNow();
  while (!ended_) {
    const absl::StatusOr<bool> copied = Step();
    const MonoTime now = MonoNow();
    if (!copied.ok()) {
      Stop(copied.status());
    } else if (copied_ == bytes_) {
      Stop(absl::OkStatus());
    } else if (now >= deadline_) {
      Stop(absl::DeadlineExceededError("the payload has not come in time"));
    } else if (!*copied && !LookOn() && FallAsleep(*tickets_, ticket_, copied_)) {
      return Next::kSilent;
    } else if (now - begun > kTurn) {
      return Next::kMore;
    }
  }
  return Next::kEnded;
}

bool PayloadFollower::LookOn() {
  if (!std::exchange(waiting_, true)) lookout_.Begin(may_look_);
  return lookout_.Again();
}

absl::StatusOr<bool> PayloadFollower::Step() {
  const std::optional<uint64_t> filled = FilledOf(*tickets_, ticket_);
  if (!filled.has_value()) return StoppedWaiting();
  if (*filled > bytes_ || *filled < filled_) {
    return absl::InvalidArgumentError(absl::StrCat("the worker says that ", *filled, " of ", bytes_,
                                                   " bytes are there, after ", filled_));
  }
  filled_ = *filled;
  if (filled_ == copied_) {
    if (IsArmed(*tickets_, ticket_)) return false;
    return StoppedWaiting();
  }
  if (std::exchange(waiting_, false)) lookout_.Came();
  const uint64_t step = std::min(filled_ - copied_, kStepBytes);
  steps_.Copy(step);
  if (!SetTaken(*tickets_, ticket_, copied_, copied_ + step)) return StoppedWaiting();
  copied_ += step;
  return true;
}

}  // namespace cistern::transport
