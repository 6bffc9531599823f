#include "client_lib/src/staging.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/round.h"

namespace cistern::client {

Staging::~Staging() {
  mutex_.lock();
  freed_.wait(mutex_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return lent_ == 0; });
  mutex_.unlock();
}

bool Staging::TakeKeptOrRoom(size_t bytes, std::unique_ptr<transport::Buffer>* buffer) {
  // The one that was used last is the likeliest to lie in a cache still.
  const auto fits = std::find_if(kept_.rbegin(), kept_.rend(),
                                 [bytes](const auto& b) { return b->bytes().size() >= bytes; });
  if (fits != kept_.rend()) {
    *buffer = std::move(*fits);
    kept_.erase(std::next(fits).base());
    return true;
  }
  while (bytes_ + bytes > max_bytes_ && !kept_.empty()) {  // kept ones are too small: let them go
    bytes_ -= kept_.back()->bytes().size();
    kept_.pop_back();
  }
  if (bytes_ + bytes > max_bytes_) return false;
  bytes_ += bytes;
  return true;
}

absl::StatusOr<Staging::Lent> Staging::Make(size_t bytes, std::unique_ptr<transport::Buffer> kept) {
  if (kept != nullptr) return Lent(this, std::move(kept));
  auto made = link_->Allocate(bytes);
  if (made.ok()) {
    const size_t extra = (*made)->bytes().size() - bytes;
    base::MutexLock lock(&mutex_);
    bytes_ += extra;
    return Lent(this, *std::move(made));
  }
  base::MutexLock lock(&mutex_);
  bytes_ -= bytes;
  --lent_;
  freed_.notify_all();
  return made.status();
}

absl::StatusOr<Staging::Lent> Staging::TryTake(size_t bytes) {
  return Take(bytes, absl::InfinitePast());
}

absl::StatusOr<Staging::Lent> Staging::Take(size_t bytes, absl::Time until) {
  bytes = base::RoundUp(std::max<size_t>(bytes, 1), kStepBytes);
  if (bytes > max_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a transfer of ", bytes, " bytes at once: ", "max_staging_bytes is ", max_bytes_));
  }
  std::unique_ptr<transport::Buffer> kept;
  {
    base::MutexLock lock(&mutex_);
    while (!TakeKeptOrRoom(bytes, &kept)) {
      const absl::Duration left = std::min(until - absl::Now(), absl::Hours(24));
      if (left <= absl::ZeroDuration()) {
        return absl::ResourceExhaustedError("all staging buffers are in use");
      }
      freed_.wait_for(mutex_, absl::ToChronoNanoseconds(left));
    }
    ++lent_;
  }
  return Make(bytes, std::move(kept));
}

void Staging::GiveBack(std::unique_ptr<transport::Buffer> buffer) {
  base::MutexLock lock(&mutex_);
  kept_.push_back(std::move(buffer));
  --lent_;
  freed_.notify_all();  // under the lock: the destructor may be what waits
}

}  // namespace cistern::client
