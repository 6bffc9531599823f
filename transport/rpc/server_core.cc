#include "transport/rpc/server_core.h"

#include <algorithm>
#include <cassert>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace cistern::transport {
namespace {

constexpr size_t kMaxNameBytes = 256;

std::string EncodeError(uint64_t call_id, const absl::Status& status) {
  return EncodeReply({.call_id = call_id}, ErrorReply::From(status));
}

// A name from outside that may go into a log.
std::string Printable(std::string name) {
  name.resize(std::min(name.size(), kMaxNameBytes));
  for (char& c : name) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return name;
}

}  // namespace

// One dispatched request: answered once, by whoever, from wherever.
class CoreCall final : public ServerCall {
 public:
  CoreCall(std::shared_ptr<SessionCore> session, RequestEnvelope envelope,
           std::unique_ptr<CallChannel> channel)
      : session_(std::move(session)),
        envelope_(std::move(envelope)),
        deadline_(absl::Now() + envelope_.head.deadline),
        channel_(std::move(channel)) {}
  ~CoreCall() override {
    if (!replied_) Fail(absl::InternalError("the node dropped the call without an answer"));
  }

  SessionId session() const override { return session_->id(); }
  Request& request() override { return envelope_.request; }
  uint64_t payload_bytes() const override { return envelope_.head.send_bytes; }
  bool payload_follows() const override { return channel_->payload_follows(); }
  bool checks(uint64_t payload_bytes) const override { return channel_->checks(payload_bytes); }
  bool lane_moves() const override { return channel_->lane_moves(); }
  absl::Time deadline() const override { return deadline_; }

  void ReceivePayload(std::vector<MutableSlice> into,
                      absl::AnyInvocable<void(absl::Status)> done) override {
    Received received(std::move(done));
    if (TotalBytes(into) != payload_bytes() || std::exchange(received_, true)) {
      received(absl::InvalidArgumentError(absl::StrCat("a payload of ", payload_bytes(),
                                                       " bytes is received once, into ",
                                                       "as many; here are ", TotalBytes(into))));
    } else if (session_->closed()) {
      received(absl::UnavailableError("the worker is gone"));
    } else {
      session_->server_->payload_bytes_in_.fetch_add(payload_bytes(), std::memory_order_relaxed);
      channel_->ReceivePayload(std::move(into), std::move(received));
    }
  }

  void Reply(transport::Reply reply, std::vector<Slice> payload,
             absl::AnyInvocable<void()> sent) override {
    Sent on_sent(std::move(sent));
    if (std::exchange(replied_, true)) return;
    session_->in_flight_.fetch_sub(1, std::memory_order_relaxed);
    if (session_->closed()) return;
    std::erase_if(payload, [](const Slice& slice) { return slice.empty(); });
    std::string message = Encode(reply, &payload);
    session_->server_->payload_bytes_out_.fetch_add(TotalBytes(payload), std::memory_order_relaxed);
    channel_->SendReply(std::move(message), std::move(payload), std::move(on_sent));
  }
  using ServerCall::Reply;

 private:
  // Encodes `reply`, or the error that it is; a payload that cannot go with it is dropped.
  std::string Encode(const transport::Reply& reply, std::vector<Slice>* payload) {
    const uint64_t call_id = envelope_.head.call_id;
    absl::Status status = Check(reply, TotalBytes(*payload));
    std::string message;
    if (status.ok()) {
      if (std::holds_alternative<ErrorReply>(reply)) payload->clear();
      message = EncodeReply({.call_id = call_id, .payload_bytes = TotalBytes(*payload)}, reply);
      if (message.size() <= kMaxMessageBytes) return message;
      status = absl::ResourceExhaustedError(
          absl::StrCat("the answer has ", message.size(),
                       " bytes, more than fit in a message; ask for less at a time"));
    }
    payload->clear();
    return EncodeError(call_id, status);
  }

  absl::Status Check(const transport::Reply& reply, uint64_t payload_bytes) const {
    if (!std::holds_alternative<ErrorReply>(reply) &&
        payload_bytes != envelope_.head.receive_bytes) {
      return absl::InvalidArgumentError(absl::StrCat("the answer brings ", payload_bytes,
                                                     " bytes of payload, the call has ",
                                                     "room for ", envelope_.head.receive_bytes));
    }
    return CheckBounds(reply);
  }

  const std::shared_ptr<SessionCore> session_;
  RequestEnvelope envelope_;
  const absl::Time deadline_;
  const std::unique_ptr<CallChannel> channel_;
  bool received_ = false;
  bool replied_ = false;
};

ServerCore::ServerCore(const ServerOptions& options, Service* service)
    : options_(options),
      service_(service),
      callers_(options.lanes, std::max(1u, std::thread::hardware_concurrency())) {}

ServerStats ServerCore::stats() const {
  ServerStats stats;
  stats.sessions_open = sessions_open_.load(std::memory_order_relaxed);
  stats.sessions_total = sessions_total_.load(std::memory_order_relaxed);
  stats.calls = calls_.load(std::memory_order_relaxed);
  stats.bad_messages = bad_messages_.load(std::memory_order_relaxed);
  stats.payload_bytes_in = payload_bytes_in_.load(std::memory_order_relaxed);
  stats.payload_bytes_out = payload_bytes_out_.load(std::memory_order_relaxed);
  return stats;
}

std::shared_ptr<SessionCore> ServerCore::NewSession(uint32_t lane, std::string peer, bool can_map) {
  if (connections_.fetch_add(1) >= uint64_t{options_.max_sessions} + kMaxStrangers) {
    connections_.fetch_sub(1);
    return nullptr;
  }
  SessionInfo info;
  info.peer = std::move(peer);
  info.lane = lane;
  return std::make_shared<SessionCore>(shared_from_this(), next_session_.fetch_add(1),
                                       std::move(info), can_map);
}

SessionCore::SessionCore(std::shared_ptr<ServerCore> server, SessionId id, SessionInfo info,
                         bool can_map)
    : server_(std::move(server)), id_(id), can_map_(can_map), info_(std::move(info)) {}

SessionCore::~SessionCore() { assert(closed()); }

absl::Status SessionCore::OnMessage(std::span<const std::byte> message,
                                    std::unique_ptr<CallChannel> channel) {
  uint64_t call_id = 0;
  absl::StatusOr<RequestEnvelope> envelope = DecodeRequest(message, &call_id);
  absl::Status status = envelope.status();
  if (status.ok() && envelope->head.send_bytes != channel->payload_bytes()) {
    status = absl::InvalidArgumentError(
        absl::StrCat("the request speaks of ", envelope->head.send_bytes, " bytes of payload, ",
                     channel->payload_bytes(), " came with it"));
  }
  const auto* hello = status.ok() ? std::get_if<HelloRequest>(&envelope->request) : nullptr;
  if (status.ok() && hello == nullptr && !opened_) {
    status = absl::FailedPreconditionError("the first message of a connection must be the hello");
  }
  if (status.ok() && hello != nullptr && opened_) {
    status = absl::InvalidArgumentError("a second hello on one connection");
  }
  if (!status.ok()) {
    server_->CountBadMessage();
    if (call_id == 0) return status;
    channel->SendReply(EncodeError(call_id, status), {}, Sent());
    return opened_ ? absl::OkStatus() : status;
  }
  if (hello != nullptr) return OnHello(*hello, envelope->head, *channel);
  Dispatch(*std::move(envelope), std::move(channel));
  return absl::OkStatus();
}

absl::Status SessionCore::OnHello(const HelloRequest& hello, const RequestHead& head,
                                  CallChannel& channel) {
  const ServerOptions& options = server_->options_;
  absl::Status status;
  if (hello.version != kProtocolVersion) {
    server_->CountBadMessage();
    status = absl::FailedPreconditionError(absl::StrCat("the worker speaks version ", hello.version,
                                                        ", the node version ", kProtocolVersion,
                                                        "; use the same release on both"));
  } else if (server_->sessions_open_.fetch_add(1) >= options.max_sessions) {
    server_->sessions_open_.fetch_sub(1);
    status = absl::ResourceExhaustedError(absl::StrCat("the node has ", options.max_sessions,
                                                       " sessions open, as many as it allows"));
  }
  if (!status.ok()) {
    channel.SendReply(EncodeError(head.call_id, status), {}, Sent());
    return status;
  }
  opened_ = true;
  server_->sessions_total_.fetch_add(1, std::memory_order_relaxed);
  info_.client_name = Printable(hello.client_name);
  info_.maps_arena =
      can_map_ && hello.want_mapping && options.allow_mapping && options.arena_bytes > 0;
  server_->service_->OnOpen(id_, info_);

  HelloReply reply;
  reply.node_name = options.node_name;
  reply.incarnation = options.incarnation;
  reply.arena_bytes = info_.maps_arena ? options.arena_bytes : 0;
  reply.blob_block_bytes = options.blob_block_bytes;
  channel.SendReply(EncodeReply({.call_id = head.call_id}, reply), {}, Sent());
  return absl::OkStatus();
}

void SessionCore::Dispatch(RequestEnvelope envelope, std::unique_ptr<CallChannel> channel) {
  server_->calls_.fetch_add(1, std::memory_order_relaxed);
  server_->callers_.Called(&called_, MonoNow());
  const uint32_t most = server_->options_.max_calls_per_session;
  if (in_flight_.fetch_add(1, std::memory_order_relaxed) >= most) {
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    const absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
        most, " calls of this session are in progress, as many as the node allows; wait for some"));
    channel->SendReply(EncodeError(envelope.head.call_id, status), {}, Sent());
    return;
  }
  channel->set_deadline(After(MonoNow(), envelope.head.deadline));
  server_->service_->OnCall(
      std::make_unique<CoreCall>(shared_from_this(), std::move(envelope), std::move(channel)));
}

void SessionCore::OnDisconnect() {
  if (closed_.exchange(true, std::memory_order_acq_rel)) return;
  server_->connections_.fetch_sub(1);
  if (!opened_) return;
  server_->sessions_open_.fetch_sub(1);
  server_->service_->OnClose(id_);
}

}  // namespace cistern::transport
