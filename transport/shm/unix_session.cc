#include "transport/shm/unix_session.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fcntl.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "transport/rpc/copy_slices.h"
#include "transport/rpc/stream_copy.h"

namespace cistern::transport {
namespace {

// A request's payload lies in the worker's buffers, and its reply's goes there: by memcpy, on
// whichever thread asks.
class UnixChannel final : public CallChannel {
 public:
  UnixChannel(std::shared_ptr<UnixSession> session, ResolvedPayload payload)
      : session_(std::move(session)), payload_(std::move(payload)) {}

  uint64_t payload_bytes() const override { return TotalBytes(payload_.send); }
  bool payload_follows() const override { return payload_.follow; }
  void set_deadline(MonoTime deadline) override { deadline_ = deadline; }

  void ReceivePayload(std::vector<MutableSlice> into, Received done) override {
    if (payload_.follow) return Follow(std::move(into), std::move(done));
    StreamSlices(payload_.send, into);
    // What was copied is what the worker sent only if it still waited then.
    if (payload_.ticket.word != 0 && !Claim())
      return done(absl::UnavailableError("the worker has stopped waiting"));
    done(absl::OkStatus());
  }

  void SendReply(std::string message, std::vector<Slice> payload, Sent sent) override {
    if (!payload.empty()) {
      // The worker has stopped waiting: the buffer is its own again, and nobody wants the reply.
      if (payload_.tickets == nullptr || !Claim()) return;
      CopySlices(payload, payload_.receive);
    }
    sent();
    session_->Send(std::move(message));
  }

 private:
  void Follow(std::vector<MutableSlice> into, Received done) {
    session_->Follow(payload_, std::move(into), deadline_,
                     Received([this, done = std::move(done)](absl::Status status) mutable {
                       if (absl::IsInvalidArgument(status)) session_->CountBadMessage();
                       if (status.ok() && !Claim())
                         status = absl::UnavailableError("the worker has stopped waiting");
                       done(std::move(status));
                     }));
  }

  bool Claim() {
    claimed_ = claimed_ || MoveTicket(*payload_.tickets, payload_.ticket, kTicketClaimed);
    return claimed_;
  }

  const std::shared_ptr<UnixSession> session_;
  const ResolvedPayload payload_;
  MonoTime deadline_ = kNever;
  bool claimed_ = false;
};

absl::Status ReadNotice(const IncomingFrame& frame, BufferNotice* notice) {
  if (frame.body.size() != sizeof(BufferNotice))
    return absl::InvalidArgumentError("a buffer notice of the wrong size");
  memcpy(notice, frame.body.data(), sizeof(BufferNotice));
  return absl::OkStatus();
}

}  // namespace

UnixSession::UnixSession(std::shared_ptr<ServerCore> server, std::shared_ptr<SessionCore> core,
                         UniqueFd socket, int arena_fd, std::shared_ptr<ByteBudget> mapped,
                         absl::AnyInvocable<void()> on_closed)
    : server_(std::move(server)),
      core_(std::move(core)),
      arena_fd_(arena_fd),
      stream_(std::move(socket)),
      buffers_(std::move(mapped), server_->options().max_session_buffer_bytes),
      on_closed_(std::move(on_closed)) {}

absl::Status UnixSession::Start(Lane* lane) {
  lane_ = lane;
  absl::Status attached = stream_.Attach(
      lane, [self = shared_from_this()](uint32_t events) { self->OnEvents(events); });
  if (!attached.ok()) {
    Close();
    return attached;
  }
  hello_timer_ = lane->AddTimer(After(MonoNow(), server_->options().hello_timeout),
                                [self = shared_from_this()] {
                                  self->hello_timer_ = 0;
                                  self->Close();
                                });
  return absl::OkStatus();
}

void UnixSession::Close() {
  if (hello_timer_ != 0) lane_->CancelTimer(std::exchange(hello_timer_, 0));
  stream_.Close();
  for (const auto& follower : std::exchange(followers_, {}))
    follower->Stop(absl::UnavailableError("the worker is gone"));
  core_->OnDisconnect();
  if (auto on_closed = std::exchange(on_closed_, nullptr)) on_closed();
}

void UnixSession::Send(std::string message) {
  UniqueFd arena;
  if (arena_fd_ >= 0 && core_->maps_arena() && !arena_given_.exchange(true)) {
    arena = UniqueFd(fcntl(arena_fd_, F_DUPFD_CLOEXEC, 0));
  }
  const uint16_t flags = server_->Crowded() ? kCrowded : 0;
  const absl::Status sent =
      stream_.Send(MakeFrame(FrameKind::kMessage, flags, {}, std::move(message), std::move(arena)));
  if (!sent.ok()) stream_.Shutdown();
}

void UnixSession::Follow(const ResolvedPayload& payload, std::vector<MutableSlice> into,
                         MonoTime deadline, Received done) {
  deadline = std::min(deadline, After(MonoNow(), kLongestFill));
  auto follower = std::make_shared<PayloadFollower>(lane_, payload, std::move(into), deadline,
                                                    !server_->Crowded(), std::move(done));
  if (lane_->OnLaneThread()) return Begin(follower);
  lane_->Post(
      [self = shared_from_this(), follower = std::move(follower)] { self->Begin(follower); });
}

void UnixSession::Begin(const std::shared_ptr<PayloadFollower>& follower) {
  if (core_->closed()) return follower->Stop(absl::UnavailableError("the worker is gone"));
  std::erase_if(followers_, [](const auto& one) { return one->ended(); });
  if (followers_.size() >= kMaxFollowers) {
    return follower->Stop(absl::ResourceExhaustedError(absl::StrCat(
        kMaxFollowers, " payloads of this worker are on their way already; wait for some")));
  }
  followers_.push_back(follower);
  follower->Start();
}

void UnixSession::OnEvents(uint32_t events) {
  const std::shared_ptr<UnixSession> self = shared_from_this();  // Close drops the handler's
  absl::Status status;
  if ((events & EPOLLOUT) != 0) status = stream_.Flush();
  if (status.ok() && (events & ~uint32_t{EPOLLOUT}) != 0) {
    bool counted = false;
    status = stream_.Read([&](IncomingFrame frame) {
      absl::Status used = OnFrame(std::move(frame));
      counted = !used.ok();
      return used;
    });
    if (absl::IsInvalidArgument(status) && !counted) server_->CountBadMessage();
  }
  if (!status.ok()) {
    Close();
  } else if (!server_->Crowded()) {
    lane_->Expect();
  }
}

absl::Status UnixSession::OnFrame(IncomingFrame frame) {
  if (frame.header.kind == FrameKind::kMessage) return OnMessage(std::move(frame));
  if (frame.header.kind == FrameKind::kFilled) return OnFilled(frame);
  BufferNotice notice;
  absl::Status status = ReadNotice(frame, &notice);
  if (status.ok() && !core_->opened())
    status = absl::FailedPreconditionError("a buffer before the hello");
  if (status.ok()) {
    switch (frame.header.kind) {
      case FrameKind::kBuffer:
        status = buffers_.Add(notice, std::move(frame.fd));
        break;
      case FrameKind::kDropBuffer:
        status = buffers_.Drop(notice);
        break;
      case FrameKind::kTickets:
        status = buffers_.SetTickets(notice, std::move(frame.fd));
        break;
      case FrameKind::kMessage:
      case FrameKind::kFilled:
        break;
    }
  }
  if (!status.ok()) server_->CountBadMessage();
  return status;
}

absl::Status UnixSession::OnFilled(const IncomingFrame& frame) {
  if (!frame.body.empty()) {
    server_->CountBadMessage();
    return absl::InvalidArgumentError("a frame that says that there is more says nothing else");
  }
  if (std::exchange(waking_, true)) return absl::OkStatus();  // however many frames say so
  lane_->Post([self = shared_from_this()] {
    self->waking_ = false;
    const auto followers = self->followers_;  // what ends may begin others
    for (const auto& follower : followers) follower->Wake();
  });
  return absl::OkStatus();
}

absl::Status UnixSession::OnMessage(IncomingFrame frame) {
  ResolvedPayload payload;
  std::span<const std::byte> message = frame.body;
  if ((frame.header.flags & kHasPayload) != 0) {
    absl::StatusOr<ResolvedPayload> resolved = buffers_.Resolve(&message);
    if (!resolved.ok()) {
      server_->CountBadMessage();
      return resolved.status();
    }
    payload = *std::move(resolved);
  }
  CISTERN_RETURN_IF_ERROR(core_->OnMessage(
      message, std::make_unique<UnixChannel>(shared_from_this(), std::move(payload))));
  if (core_->opened() && hello_timer_ != 0) lane_->CancelTimer(std::exchange(hello_timer_, 0));
  return absl::OkStatus();
}

}  // namespace cistern::transport
