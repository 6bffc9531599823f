#include "transport/shm/frame_stream.h"

#include <utility>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::transport {
namespace {

constexpr int kReadsPerTurn = 16;  // then the lane serves others
constexpr size_t kMaxFdsPerRead = 4;
constexpr size_t kMaxFdsWaiting = 8;

absl::Status Gone(absl::string_view what, int error) {
  return absl::UnavailableError(absl::StrCat("the peer is gone: ", what, ": ", strerror(error)));
}

// The bytes of a frame from `written` on.
int Pieces(OutgoingFrame& frame, size_t written, iovec* pieces) {
  int count = 0;
  if (written < frame.head.size()) {
    pieces[count++] = {frame.head.data() + written, frame.head.size() - written};
    written = 0;
  } else {
    written -= frame.head.size();
  }
  if (written < frame.message.size()) {
    pieces[count++] = {frame.message.data() + written, frame.message.size() - written};
  }
  return count;
}

// One sendmsg; the descriptor goes with the first byte.
ssize_t SendPiece(int socket, OutgoingFrame& frame, size_t written) {
  iovec pieces[2];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = Pieces(frame, written, pieces);
  if (frame.fd.valid()) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = frame.fd.get();
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent > 0) frame.fd.Reset();
  return sent;
}

void CollectFds(msghdr& message, std::deque<UniqueFd>* fds) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      fds->emplace_back(fd);
    }
  }
}

}  // namespace

OutgoingFrame MakeFrame(FrameKind kind, uint16_t flags, std::span<const std::byte> table,
                        std::string message, UniqueFd fd) {
  FrameHeader header;
  header.kind = kind;
  header.flags = fd.valid() ? flags | kHasFd : flags;
  header.length = static_cast<uint32_t>(table.size() + message.size());
  OutgoingFrame frame;
  frame.head.reserve(sizeof(header) + table.size());
  frame.head.assign(reinterpret_cast<const char*>(&header), sizeof(header));
  frame.head.append(reinterpret_cast<const char*>(table.data()), table.size());
  frame.message = std::move(message);
  frame.fd = std::move(fd);
  return frame;
}

// Whatever is not to sleep says so itself.
FrameStream::FrameStream(UniqueFd socket) : socket_(std::move(socket)) {
  const timeval glance = {.tv_sec = 0, .tv_usec = std::chrono::microseconds(kGlance).count()};
  const int flags = fcntl(socket_.get(), F_GETFL);
  bounded_ = flags != -1 &&
             setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &glance, sizeof(glance)) == 0 &&
             fcntl(socket_.get(), F_SETFL, flags & ~O_NONBLOCK) == 0;
}

absl::Status FrameStream::Attach(Lane* lane, Lane::FdHandler on_events) {
  absl::StatusOr<Lane::FdToken> token = lane->AddFd(socket_.get(), EPOLLIN, std::move(on_events));
  if (!token.ok()) return token.status();
  base::MutexLock lock(&mutex_);
  lane_ = lane;
  token_ = *token;
  WatchLocked();
  return absl::OkStatus();
}

absl::Status FrameStream::ReceiveSome(Sleep sleep, bool* drained) {
  const std::span<std::byte> space = reader_.Space();
  iovec piece = {space.data(), space.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFdsPerRead * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const int flags = MSG_CMSG_CLOEXEC | (sleep == Sleep::kOnce ? 0 : MSG_DONTWAIT);
  ssize_t got = 0;
  do {
    got = recvmsg(socket_.get(), &message, flags);
  } while (got < 0 && errno == EINTR && sleep == Sleep::kNever);
  *drained = got < static_cast<ssize_t>(space.size());
  if (got < 0) {
    const bool nothing = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    return nothing ? absl::OkStatus() : Gone("recvmsg", errno);
  }
  CollectFds(message, &fds_);
  if (got == 0) return absl::UnavailableError("the peer closed the connection");
  if ((message.msg_flags & MSG_CTRUNC) != 0 || fds_.size() > kMaxFdsWaiting) {
    return absl::InvalidArgumentError("more file descriptors than frames ask for");
  }
  reader_.Commit(got);
  return absl::OkStatus();
}

absl::Status FrameStream::Read(OnFrame on_frame) {
  if (!reading_.TryLock()) return absl::OkStatus();
  absl::Status status = ReadLocked(Sleep::kNever, on_frame);
  reading_.Unlock();
  return status;
}

absl::Status FrameStream::ReadLocked(Sleep sleep, OnFrame on_frame) {
  bool drained = false;
  for (int reads = 0; !drained && reads < kReadsPerTurn; ++reads) {
    CISTERN_RETURN_IF_ERROR(ReceiveSome(std::exchange(sleep, Sleep::kNever), &drained));
    FrameView view;
    while (true) {
      CISTERN_ASSIGN_OR_RETURN(const bool whole, reader_.Next(&view));
      if (!whole) break;
      crowded_ = (view.header.flags & kCrowded) != 0;
      IncomingFrame frame{view.header, view.body, UniqueFd()};
      if ((view.header.flags & kHasFd) != 0) {
        if (fds_.empty())
          return absl::InvalidArgumentError(
              "a frame without the file descriptor that it announces");
        frame.fd = std::move(fds_.front());
        fds_.pop_front();
      }
      CISTERN_RETURN_IF_ERROR(on_frame(std::move(frame)));
    }
    if (!reader_.midway() && !fds_.empty()) {
      return absl::InvalidArgumentError("a file descriptor that no frame announces");
    }
  }
  return absl::OkStatus();
}

absl::Status FrameStream::Send(OutgoingFrame frame) {
  base::MutexLock lock(&mutex_);
  if (closed_) return absl::UnavailableError("the connection is closed");
  if (!outgoing_.empty() && outgoing_bytes_ + frame.size() > kMaxOutgoingBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(outgoing_bytes_, " bytes wait for a peer that does not read them"));
  }
  outgoing_bytes_ += frame.size();
  outgoing_.push_back(std::move(frame));
  return outgoing_.size() == 1 ? WriteLocked() : absl::OkStatus();
}

absl::Status FrameStream::Flush() {
  base::MutexLock lock(&mutex_);
  return closed_ ? absl::OkStatus() : WriteLocked();
}

absl::Status FrameStream::WriteLocked() {
  while (!outgoing_.empty()) {
    OutgoingFrame& frame = outgoing_.front();
    const ssize_t sent = SendPiece(socket_.get(), frame, first_written_);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent < 0) return Gone("sendmsg", errno);
    first_written_ += sent;
    outgoing_bytes_ -= sent;
    if (first_written_ == frame.size()) {
      outgoing_.pop_front();
      first_written_ = 0;
    }
  }
  WatchLocked();
  return absl::OkStatus();
}

void FrameStream::WatchLocked() {
  const uint32_t events =
      (attended_ || unwatched_ ? 0u : EPOLLIN) | (outgoing_.empty() ? 0u : EPOLLOUT);
  if (lane_ == nullptr || events == watched_) return;
  watched_ = events;
  lane_->SetEvents(token_, events);
}

void FrameStream::Watch() {
  base::MutexLock lock(&mutex_);
  unwatched_ = false;
  if (!closed_) WatchLocked();
}

void FrameStream::Shutdown() {
  base::MutexLock lock(&mutex_);
  if (!closed_) shutdown(socket_.get(), SHUT_RDWR);
}

void FrameStream::Close() {
  {
    base::MutexLock lock(&mutex_);
    if (closed_) return;
    closed_ = true;
    if (!outgoing_.empty()) WriteLocked().IgnoreError();
    if (lane_ != nullptr) lane_->RemoveFd(token_);
    outgoing_.clear();
    if (attended_) shutdown(socket_.get(), SHUT_RDWR);  // which wakes him
  }
  base::MutexLock reading(&reading_);
  base::MutexLock lock(&mutex_);
  fds_.clear();
  socket_.Reset();
}

}  // namespace cistern::transport
