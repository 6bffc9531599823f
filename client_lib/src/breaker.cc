#include "client_lib/src/breaker.h"

#include <algorithm>

namespace cistern::client {

Breaker::Pass Breaker::Enter() {
  base::MutexLock lock(&mutex_);
  if (!open_) return Pass::kNormal;
  if (probing_ || clock_.Now() < until_) return Pass::kNone;
  probing_ = true;
  return Pass::kProbe;
}

void Breaker::Report(Pass pass, const absl::Status& status) {
  base::MutexLock lock(&mutex_);
  if (pass == Pass::kProbe) probing_ = false;
  // Calls that began before it opened have nothing new to say.
  if (absl::IsInvalidArgument(status) || (open_ && pass != Pass::kProbe)) return;
  if (!absl::IsDeadlineExceeded(status)) {
    open_ = false;
    late_ = 0;
    wait_ = first_wait_;
  } else if (open_ || ++late_ >= kTrips) {
    Open();
  }
}

void Breaker::Open() {
  open_ = true;
  until_ = clock_.Now() + wait_;
  wait_ = std::max(first_wait_, std::min(wait_ * 2, kMaxWait));
}

}  // namespace cistern::client
