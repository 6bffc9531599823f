// One end of a unix socket that carries frames and file descriptors.
//
//   Attach ─► (Read | Flush)* on the lane's thread; Send, Attend and Watch from any ─► Close
//
// Sending never blocks: what the socket does not take waits in a queue with a bound, and the lane
// writes it when the peer has read. A peer that does not read fills it, and then Send fails: its
// connection should be given up (Shutdown).
//
// One thread reads at a time: the lane, or, as long as it likes to, one that waits for a frame and
// attends the stream. The lane is not woken for what comes meanwhile, nor afterwards, until it is
// told to watch again: where every frame is awaited by who attends, it is left alone altogether.
//
// Thread   Send, Attend, Watch, Shutdown: any. The rest: the lane's
// Errors   Unavailable: the peer is gone, or the stream is closed. ResourceExhausted: the queue is
//          full; nothing was sent. InvalidArgument (Read): the peer does not keep to frame.h
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/mutex.h"
#include "transport/rpc/lane.h"
#include "transport/rpc/lookout.h"
#include "transport/rpc/mono_time.h"
#include "transport/shm/frame_reader.h"
#include "transport/shm/unique_fd.h"

namespace cistern::transport {

struct IncomingFrame {
  FrameHeader header;
  std::span<const std::byte> body;  // valid during the call
  UniqueFd fd;                      // with kHasFd
};

// A frame to be sent: `head` (its header, table and slices), then `message`.
struct OutgoingFrame {
  std::string head;
  std::string message;
  UniqueFd fd;

  size_t size() const { return head.size() + message.size(); }
};
// Fills in the length; `table` goes between the header and the message.
OutgoingFrame MakeFrame(FrameKind kind, uint16_t flags, std::span<const std::byte> table,
                        std::string message, UniqueFd fd = UniqueFd());

class FrameStream {
 public:
  static constexpr size_t kMaxOutgoingBytes = 2 * kMaxFrameBytes;

  // Makes the socket a blocking one, with a bound.
  explicit FrameStream(UniqueFd socket);

  // Has the lane watch the socket. `on_events` calls Read and Flush.
  absl::Status Attach(Lane* lane, Lane::FdHandler on_events);

  // Reads what is there (a bounded piece of it) and calls `on_frame` for each whole frame; its
  // error ends the reading and is returned. Unavailable at the stream's end.
  // Nothing while somebody attends.
  using OnFrame = absl::FunctionRef<absl::Status(IncomingFrame)>;
  absl::Status Read(OnFrame on_frame);

  // Reads on the calling thread, sleeping in between, until `done` says so or `longest` is over.
  // `done` is asked after each reading, and every kGlance: what it asks for may come otherwise.
  // Returns at once when somebody else reads. Who may still expect a frame then says Watch. Errors
  // as Read
  static constexpr std::chrono::milliseconds kGlance{10};
  static constexpr Lookout::Micros kLookFor{100};
  absl::Status Attend(absl::FunctionRef<bool()> done, absl::Duration longest, OnFrame on_frame);

  // Has the lane read what comes, once nobody attends. It always notices the peer's death.
  void Watch();

  // Writes what waits, as far as the socket takes it.
  absl::Status Flush();

  absl::Status Send(OutgoingFrame frame);

  // Ends both directions; the lane sees the stream's end and closes it.
  void Shutdown();

  // Flushes once, has whoever attends leave, and closes the socket. Sends fail from here on. Not
  // within `on_frame`. Idempotent.
  void Close();

 private:
  // kOnce: sleeps for about kGlance at most, or until a signal comes, for the first bytes; the
  // socket is bounded_.
  enum class Sleep : bool { kNever, kOnce };

  absl::Status ReceiveSome(Sleep sleep, bool* drained) ABSL_EXCLUSIVE_LOCKS_REQUIRED(reading_);
  absl::Status ReadLocked(Sleep sleep, OnFrame on_frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(reading_);
  absl::Status AttendLocked(absl::FunctionRef<bool()> done, MonoTime until, OnFrame on_frame)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(reading_);
  bool BeginAttending();  // false: there is nothing to attend
  void EndAttending();
  absl::Status WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WatchLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Lane* lane_ = nullptr;
  Lane::FdToken token_;

  base::Mutex reading_;  // taken before mutex_
  FrameReader reader_ ABSL_GUARDED_BY(reading_);
  std::deque<UniqueFd> fds_ ABSL_GUARDED_BY(reading_);  // received, not yet claimed by a frame
  Lookout lookout_ ABSL_GUARDED_BY(reading_){kLookFor};
  bool crowded_ ABSL_GUARDED_BY(reading_) = false;  // as the last frame said

  base::Mutex mutex_;     // of sending, and of what the lane watches
  UniqueFd socket_;       // closed under both
  bool bounded_ = false;  // it is a blocking one, and nobody sleeps in it for longer than kGlance
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool attended_ ABSL_GUARDED_BY(mutex_) = false;
  bool unwatched_ ABSL_GUARDED_BY(mutex_) = false;      // since somebody attended
  uint32_t watched_ ABSL_GUARDED_BY(mutex_) = EPOLLIN;  // events
  std::deque<OutgoingFrame> outgoing_ ABSL_GUARDED_BY(mutex_);
  size_t first_written_ ABSL_GUARDED_BY(mutex_) = 0;  // bytes of outgoing_.front() that are gone
  size_t outgoing_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::transport
