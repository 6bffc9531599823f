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
  if (SetAttended(true)) {
    status = AttendLocked(done, After(MonoNow(), longest), on_frame);
    SetAttended(false);  // what has come meanwhile wakes the lane
  }
  reading_.Unlock();
  return status;
}

bool FrameStream::SetAttended(bool attended) {
  base::MutexLock lock(&mutex_);
  attended_ = attended && !closed_ && lane_ != nullptr;
  if (!closed_) WatchLocked();
  return attended_;
}

absl::Status FrameStream::AttendLocked(absl::FunctionRef<bool()> done, MonoTime until,
                                       OnFrame on_frame) {
  using Millis = std::chrono::milliseconds;
  lookout_.Begin(/*allowed=*/!crowded_);
  while (true) {
    CISTERN_RETURN_IF_ERROR(ReadLocked(on_frame));
    if (done()) break;
    if (lookout_.Again()) continue;
    const MonoTime now = MonoNow();
    if (now >= until) return absl::OkStatus();
    const MonoTime glance = std::min(until, now + kGlance);
    pollfd socket = {socket_.get(), POLLIN, 0};
    poll(&socket, 1, static_cast<int>(std::chrono::ceil<Millis>(glance - now).count()));
  }
  lookout_.Came();
  return absl::OkStatus();
}

}  // namespace cistern::transport
