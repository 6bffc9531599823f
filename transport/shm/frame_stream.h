// One end of a unix socket that carries frames and file descriptors.
//
//   Attach ─► (Read | Flush)* on the lane's thread; Send from any ─► Close
//
// Sending never blocks: what the socket does not take waits in a queue with a bound, and the lane
// writes it when the peer has read. A peer that does not read fills it, and then Send fails: its
// connection should be given up (Shutdown).
//
// Thread   Send, Shutdown: any. The rest: the lane's
// Errors   Unavailable: the peer is gone, or the stream is closed. ResourceExhausted: the queue is
//          full; nothing was sent. InvalidArgument (Read): the peer does not keep to frame.h
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/mutex.h"
#include "transport/rpc/lane.h"
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

  explicit FrameStream(UniqueFd socket) : socket_(std::move(socket)) {}

  // Has the lane watch the socket. `on_events` calls Read and Flush.
  absl::Status Attach(Lane* lane, Lane::FdHandler on_events);

  // Reads what is there (a bounded piece of it) and calls `on_frame` for each whole frame; its
  // error ends the reading and is returned. Unavailable at the stream's end.
  absl::Status Read(absl::FunctionRef<absl::Status(IncomingFrame)> on_frame);

  // Writes what waits, as far as the socket takes it.
  absl::Status Flush();

  absl::Status Send(OutgoingFrame frame);

  // Ends both directions; the lane sees the stream's end and closes it.
  void Shutdown();

  // Flushes once and closes the socket. Sends fail from here on. Idempotent.
  void Close();

 private:
  absl::Status ReceiveSome(bool* drained);
  absl::Status WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WatchLocked(bool writable) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Lane* lane_ = nullptr;
  Lane::FdToken token_;
  FrameReader reader_;
  std::deque<UniqueFd> fds_;  // received, not yet claimed by a frame

  base::Mutex mutex_;  // guards sending and the socket's end; the lane's reads need no lock
  UniqueFd socket_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool watching_writable_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<OutgoingFrame> outgoing_ ABSL_GUARDED_BY(mutex_);
  size_t first_written_ ABSL_GUARDED_BY(mutex_) = 0;  // bytes of outgoing_.front() that are gone
  size_t outgoing_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::transport
