#include "transport/shm/unix_link.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/mutex.h"
#include "base/status_macros.h"
#include "transport/rpc/client_core.h"
#include "transport/rpc/lane.h"
#include "transport/shm/arena_view.h"
#include "transport/shm/buffer_pool.h"
#include "transport/shm/frame_stream.h"
#include "transport/shm/tickets.h"
#include "transport/shm/unix_socket.h"

namespace cistern::transport {
namespace {

template <typename T>
void Append(std::vector<std::byte>* bytes, const T& value) {
  const auto* raw = reinterpret_cast<const std::byte*>(&value);
  bytes->insert(bytes->end(), raw, raw + sizeof(T));
}

// A call's ticket in the hands of who writes its payload.
class TicketFill final : public PayloadFill {
 public:
  TicketFill(std::shared_ptr<TicketBook> book, std::shared_ptr<FrameStream> stream,
             const Ticket& ticket, uint64_t bytes)
      : book_(std::move(book)), stream_(std::move(stream)), ticket_(ticket), bytes_(bytes) {}
  ~TicketFill() override {
    const bool complete = filled_ == bytes_;
    if (!complete) {
      book_->Withdraw(ticket_.index);
      Wake();
    }
    book_->EndFill(ticket_.index, complete);
  }

  void Filled(uint64_t bytes) override {
    filled_ = bytes;
    book_->Filled(ticket_, bytes);
    if (bytes == bytes_ || bytes - woken_at_ >= kWakeFor) Wake();
  }
  uint64_t Taken() override {
    const uint64_t taken = std::min(filled_, book_->Taken(ticket_));
    if (taken < filled_) Wake();  // who asks may be waiting for more
    return taken;
  }

 private:
  static constexpr uint64_t kWakeFor = 256 << 10;  // less is not worth a message

  void Wake() {
    if (!book_->MustWake(ticket_.index)) return;
    woken_at_ = filled_;
    // A stream that takes no more ends soon, and the call with it.
    stream_->Send(MakeFrame(FrameKind::kFilled, 0, {}, std::string())).IgnoreError();
  }

  const std::shared_ptr<TicketBook> book_;
  const std::shared_ptr<FrameStream> stream_;
  const Ticket ticket_;
  const uint64_t bytes_;
  uint64_t filled_ = 0;
  uint64_t woken_at_ = 0;
};

class UnixLink final : public Link {
 public:
  UnixLink(std::unique_ptr<Lane> lane, UniqueFd socket, const LinkOptions& options)
      : options_(options),
        lane_(std::move(lane)),
        core_(std::make_shared<ClientCore>(lane_.get(), options.max_in_flight)),
        stream_(std::make_shared<FrameStream>(std::move(socket))),
        buffers_(std::make_shared<BufferPool>(stream_)) {}

  ~UnixLink() override {
    core_->OnDeath(absl::CancelledError("the link was closed"));
    lane_->RunAndWait([this] { stream_->Close(); });
    lane_->Stop();
  }

  absl::Status Open();

  void Call(Request request, CallOptions options, Completion done) override {
    Start(request, std::move(options), std::move(done), nullptr);
  }
  bool follows() const override { return true; }
  std::unique_ptr<PayloadFill> CallAhead(Request request, CallOptions options,
                                         Completion done) override {
    std::unique_ptr<PayloadFill> fill;
    Start(request, std::move(options), std::move(done), &fill);
    return fill;
  }
  void Attend(absl::FunctionRef<bool()> done, absl::Duration longest) override;
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t bytes) override {
    if (!alive()) return absl::UnavailableError("the connection to the node is gone");
    return buffers_->Allocate(bytes);
  }
  const std::byte* arena() const override { return arena_ == nullptr ? nullptr : arena_->data(); }
  const HelloReply& node() const override { return node_; }
  bool alive() const override { return core_->alive(); }

 private:
  // A call's place in the frame: its PayloadTable and slices; empty when it has no payload.
  struct Placement {
    std::vector<std::byte> table;
    std::optional<Ticket> ticket;
  };

  // `fill`: the call goes ahead of its payload, and this is to be filled in.
  void Start(const Request& request, CallOptions options, Completion done,
             std::unique_ptr<PayloadFill>* fill);
  absl::StatusOr<Placement> Place(const CallOptions& options, bool ahead);
  absl::Status PlaceSlices(const CallOptions& options, uint32_t* send, uint32_t* receive,
                           std::vector<std::byte>* table);
  absl::StatusOr<TicketBook*> Tickets();

  absl::Status OnFrame(IncomingFrame frame);  // on the thread that reads

  // On the lane.
  void OnEvents(uint32_t events);
  bool MayExpire(const PendingCall& call);
  void Die(const absl::Status& status);

  const LinkOptions options_;
  const std::unique_ptr<Lane> lane_;
  const std::shared_ptr<ClientCore> core_;
  const std::shared_ptr<FrameStream> stream_;
  const std::shared_ptr<BufferPool> buffers_;

  base::Mutex tickets_mutex_;
  std::shared_ptr<TicketBook> tickets_
      ABSL_GUARDED_BY(tickets_mutex_);  // from the first call with a payload

  UniqueFd arena_fd_;  // the reader's, until the hello's reply
  HelloReply node_;    // fixed once open
  std::shared_ptr<Mapping> arena_;
};

absl::Status UnixLink::Open() {
  core_->SetMayExpire([this](const PendingCall& call) { return MayExpire(call); });
  absl::Status attached;
  lane_->RunAndWait([&] {
    attached = stream_->Attach(lane_.get(), [this](uint32_t events) { OnEvents(events); });
  });
  CISTERN_RETURN_IF_ERROR(attached);

  HelloRequest hello;
  hello.client_name = options_.client_name;
  hello.want_mapping = options_.want_mapping;
  CallOptions options;
  options.deadline = options_.connect_timeout;
  absl::StatusOr<HelloReply> reply = CallFor<HelloReply>(*this, hello, std::move(options));
  if (absl::IsDeadlineExceeded(reply.status())) {
    return absl::UnavailableError(absl::StrCat("the node did not answer the hello within ",
                                               absl::FormatDuration(options_.connect_timeout)));
  }
  CISTERN_RETURN_IF_ERROR(reply.status());
  node_ = *std::move(reply);
  if (node_.version != kProtocolVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the node speaks version ", node_.version,
                                                      ", this process version ", kProtocolVersion,
                                                      "; use the same release on both"));
  }
  if (node_.arena_bytes > 0) {
    CISTERN_ASSIGN_OR_RETURN(arena_, MapArena(arena_fd_.get(), node_));
  }
  arena_fd_.Reset();
  return absl::OkStatus();
}

void UnixLink::Start(const Request& request, CallOptions options, Completion done,
                     std::unique_ptr<PayloadFill>* fill) {
  const uint64_t bytes = TotalBytes(options.send);
  absl::StatusOr<Placement> placed = Place(options, fill != nullptr);
  if (!placed.ok()) {
    core_->Refuse(std::move(done), placed.status());
    return;
  }
  uint64_t carrier_data = 0;  // the ticket's index + 1; 0: none
  if (placed->ticket.has_value()) {
    base::MutexLock lock(&tickets_mutex_);
    const uint32_t index = placed->ticket->index;
    carrier_data = uint64_t{index} + 1;
    if (fill != nullptr)
      *fill = std::make_unique<TicketFill>(tickets_, stream_, *placed->ticket, bytes);
    done = [book = tickets_, index, done = std::move(done)](absl::StatusOr<Reply> reply) mutable {
      book->Return(index);
      done(std::move(reply));
    };
  }
  const bool attended = options.attended;
  auto begun = core_->Begin(request, std::move(options), std::move(done), carrier_data);
  if (!begun.has_value()) {
    if (fill != nullptr) fill->reset();
    return;
  }
  // Whoever leaves the stream after Begin sees this call; this is for one who has left before.
  if (!attended) stream_->Watch();
  const uint16_t flags = placed->table.empty() ? 0 : kHasPayload;
  const absl::Status sent = stream_->Send(
      MakeFrame(FrameKind::kMessage, flags, placed->table, std::move(begun->message)));
  if (!sent.ok()) core_->Abandon(begun->call_id, sent);
}

void UnixLink::Attend(absl::FunctionRef<bool()> done, absl::Duration longest) {
  absl::Status status = stream_->Attend(
      done, longest, [this](IncomingFrame frame) { return OnFrame(std::move(frame)); });
  if (!status.ok()) lane_->Post([this, status = std::move(status)] { Die(status); });
  if (core_->expects()) stream_->Watch();
}

absl::StatusOr<UnixLink::Placement> UnixLink::Place(const CallOptions& options, bool ahead) {
  Placement placement;
  if (ahead && TotalBytes(options.send) == 0) {
    return absl::InvalidArgumentError("a call that goes ahead of no payload");
  }
  if (options.send.empty() && options.receive.empty()) return placement;
  PayloadTable table;
  std::vector<std::byte> slices;
  CISTERN_RETURN_IF_ERROR(PlaceSlices(options, &table.send_slices, &table.receive_slices, &slices));
  if (table.send_slices > kMaxSlices || table.receive_slices > kMaxSlices) {
    return absl::InvalidArgumentError(
        absl::StrCat("a payload of ", std::max(table.send_slices, table.receive_slices),
                     " slices; at most ", kMaxSlices, " go with one call"));
  }
  if (table.receive_slices > 0 || table.send_slices > 0) {
    CISTERN_ASSIGN_OR_RETURN(TicketBook * book, Tickets());
    const std::optional<Ticket> ticket = book->Arm(/*fills=*/ahead);
    if (!ticket.has_value()) {
      return absl::ResourceExhaustedError("too many calls in flight on this link; wait for some");
    }
    table.ticket = ticket->index;
    table.ticket_word = ticket->word;
    table.flags = ahead ? kFollow : 0;
    placement.ticket = ticket;
  }
  Append(&placement.table, table);
  placement.table.insert(placement.table.end(), slices.begin(), slices.end());
  return placement;
}

absl::Status UnixLink::PlaceSlices(const CallOptions& options, uint32_t* send, uint32_t* receive,
                                   std::vector<std::byte>* table) {
  for (const Slice& slice : options.send) {
    if (slice.empty()) continue;
    CISTERN_ASSIGN_OR_RETURN(const WireSlice located, buffers_->Locate(slice));
    Append(table, located);
    ++*send;
  }
  for (const MutableSlice& slice : options.receive) {
    if (slice.empty()) continue;
    CISTERN_ASSIGN_OR_RETURN(const WireSlice located, buffers_->Locate(slice));
    Append(table, located);
    ++*receive;
  }
  return absl::OkStatus();
}

absl::StatusOr<TicketBook*> UnixLink::Tickets() {
  base::MutexLock lock(&tickets_mutex_);
  if (tickets_ == nullptr) {
    const uint64_t bytes = uint64_t{std::max(options_.max_in_flight, 1u)} * sizeof(TicketLine);
    CISTERN_ASSIGN_OR_RETURN(UniqueFd fd, CreateMemfd("cistern-tickets", bytes));
    CISTERN_ASSIGN_OR_RETURN(auto memory,
                             Mapping::Map(fd.get(), bytes, Mapping::Access::kReadWrite));
    CISTERN_RETURN_IF_ERROR(
        BufferPool::Announce(*stream_, FrameKind::kTickets, 0, bytes, std::move(fd)));
    tickets_ = std::make_shared<TicketBook>(std::move(memory), options_.max_in_flight);
  }
  return tickets_.get();
}

void UnixLink::OnEvents(uint32_t events) {
  absl::Status status;
  if ((events & EPOLLOUT) != 0) status = stream_->Flush();
  if (status.ok() && (events & ~uint32_t{EPOLLOUT}) != 0) {
    status = stream_->Read([this](IncomingFrame frame) { return OnFrame(std::move(frame)); });
  }
  if (!status.ok()) Die(status);
}

absl::Status UnixLink::OnFrame(IncomingFrame frame) {
  if (frame.header.kind != FrameKind::kMessage || (frame.header.flags & kHasPayload) != 0) {
    return absl::InternalError("the node sent a frame that only a worker sends");
  }
  if (frame.fd.valid()) arena_fd_ = std::move(frame.fd);
  return core_->OnReply(frame.body);
}

bool UnixLink::MayExpire(const PendingCall& call) {
  stream_->Watch();  // for a late reply: its caller may not have come to attend the link
  if (call.carrier_data == 0) return true;
  base::MutexLock lock(&tickets_mutex_);
  if (tickets_->Withdraw(static_cast<uint32_t>(call.carrier_data - 1))) return true;
  if (call.receive.empty()) return true;  // claimed: the node has read all there was to read
  if (!call.overdue) return false;
  // It has begun to write and does not come to an end. Nothing may be believed of its buffers any
  // more.
  lane_->Post(
      [this] { Die(absl::UnavailableError("the node is stuck in the middle of an answer")); });
  return true;
}

void UnixLink::Die(const absl::Status& status) {
  stream_->Close();
  // Whatever it was: for the callers the node is gone.
  core_->OnDeath(
      absl::UnavailableError(absl::StrCat("the connection to the node broke: ", status.message())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> ConnectUnix(const std::string& path,
                                                  const LinkOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(UniqueFd socket, ConnectUnixSocket(path, options.connect_timeout));
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<Lane> lane, Lane::Start("cistern-link"));
  auto link = std::make_unique<UnixLink>(std::move(lane), std::move(socket), options);
  CISTERN_RETURN_IF_ERROR(link->Open());
  return link;
}

}  // namespace cistern::transport
