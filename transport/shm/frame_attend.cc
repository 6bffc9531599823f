// A thread that waits for a frame reads the stream itself: no other has to be woken for it first.
#include <algorithm>
#include <chrono>

#include <poll.h>

#include "base/status_macros.h"
#include "transport/shm/frame_stream.h"

namespace cistern::transport {

absl::Status FrameStream::Attend(absl::FunctionRef<bool()> done, absl::Duration longest,
                                 OnFrame on_frame) {
  if (!reading_.TryLock()) return absl::OkStatus();
  absl::Status status;
  if (BeginAttending()) {
    status = AttendLocked(done, After(MonoNow(), longest), on_frame);
    EndAttending();
  }
  reading_.Unlock();
  return status;
}

bool FrameStream::BeginAttending() {
  base::MutexLock lock(&mutex_);
  attended_ = !closed_ && lane_ != nullptr;
  if (attended_) WatchLocked();
  return attended_;
}

void FrameStream::EndAttending() {
  base::MutexLock lock(&mutex_);
  attended_ = false;
  unwatched_ = true;
}

// A thread that sleeps does so in recvmsg: to learn that there is something and to take it are one
// call.
absl::Status FrameStream::AttendLocked(absl::FunctionRef<bool()> done, MonoTime until,
                                       OnFrame on_frame) {
  using Millis = std::chrono::milliseconds;
  bool look = lookout_.Begin(/*allowed=*/!crowded_);
  while (!done()) {
    if (look) {
      CISTERN_RETURN_IF_ERROR(ReadLocked(Sleep::kNever, on_frame));
      look = !done() && lookout_.Again();
      continue;
    }
    const MonoTime now = MonoNow();
    if (now >= until) return absl::OkStatus();
    const bool whole_glance = bounded_ && until - now >= 2 * kGlance;  // which is not kept exactly
    if (!whole_glance) {
      const auto glance = std::min<MonoTime::duration>(until - now, kGlance);
      pollfd socket = {socket_.get(), POLLIN, 0};
      poll(&socket, 1, static_cast<int>(std::chrono::ceil<Millis>(glance).count()));
    }
    CISTERN_RETURN_IF_ERROR(ReadLocked(whole_glance ? Sleep::kOnce : Sleep::kNever, on_frame));
  }
  lookout_.Came();
  return absl::OkStatus();
}

}  // namespace cistern::transport
