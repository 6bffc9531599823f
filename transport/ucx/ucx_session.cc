#include "transport/ucx/ucx_session.h"

#include <utility>

#include <errno.h>
#include <sys/socket.h>

#include "base/status_macros.h"
#include "transport/rpc/mono_time.h"
#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_status.h"
#include "transport/ucx/ucx_worker.h"

namespace cistern::transport {
namespace {

class UcxChannel final : public CallChannel {
 public:
  UcxChannel(std::shared_ptr<UcxConnection> connection, UcxPayload payload)
      : connection_(std::move(connection)), payload_(payload) {}
  ~UcxChannel() override {
    if (waiting()) connection_->Drop(payload_);
  }

  uint64_t payload_bytes() const override { return payload_.bytes; }
  bool checks(uint64_t bytes) const override { return connection_->InPieces(bytes); }
  bool lane_moves() const override { return true; }

  void ReceivePayload(std::vector<MutableSlice> into, Received done) override {
    if (!waiting()) {
      done(absl::OkStatus());
      return;
    }
    received_ = true;
    connection_->Receive(payload_, std::move(into), std::move(done));
  }

  void SendReply(std::string message, std::vector<Slice> payload, Sent sent) override {
    connection_->Send(std::move(message), std::move(payload), std::move(sent), {.has_room = true});
  }

 private:
  bool waiting() const { return payload_.id != 0 && !received_; }

  const std::shared_ptr<UcxConnection> connection_;
  const UcxPayload payload_;
  bool received_ = false;
};

}  // namespace

UcxSession::UcxSession(std::shared_ptr<ServerCore> server, std::shared_ptr<SessionCore> core,
                       UniqueFd socket)
    : server_(std::move(server)), core_(std::move(core)), socket_(std::move(socket)) {}

UcxSession::~UcxSession() { core_->OnDisconnect(); }

void UcxSession::Start(Lane* lane, UcxWorker* worker, absl::AnyInvocable<void()> on_end) {
  lane_ = lane;
  worker_ = worker;
  on_end_ = std::move(on_end);
  const MonoTime until = After(MonoNow(), server_->options().hello_timeout);
  hello_timer_ = lane_->AddTimer(until, [this] {
    hello_timer_ = 0;
    if (!core_->opened()) Close(absl::DeadlineExceededError("the peer has not said hello"));
  });
  absl::StatusOr<Lane::FdToken> watched =
      lane_->AddFd(socket_.get(), EPOLLIN | EPOLLRDHUP, [this](uint32_t) { ReadKnock(); });
  if (watched.ok()) {
    watched_ = *watched;
  } else {
    End();
  }
}

void UcxSession::ReadKnock() {
  const ssize_t got = recv(socket_.get(), reinterpret_cast<char*>(&knock_) + knock_bytes_,
                           sizeof(knock_) - knock_bytes_, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    if (knock_bytes_ > 0) server_->CountBadMessage();
    End();
    return;
  }
  knock_bytes_ += static_cast<size_t>(got);
  if (knock_bytes_ == sizeof(knock_)) OnKnock();
}

void UcxSession::OnKnock() {
  lane_->RemoveFd(std::exchange(watched_, {}));
  if (!IsKnock(knock_)) {
    server_->CountBadMessage();
    End();
    return;
  }
  // One of another version is told ours, and nothing else.
  absl::StatusOr<uint16_t> port = absl::FailedPreconditionError("another version");
  if (knock_.version == kDoorVersion) {
    port = OpenUcxListener();
  } else {
    server_->CountBadMessage();
  }
  const Answer answer = knock_.version == kDoorVersion ? AnswerFor(port) : MakeAnswer(0);
  const bool sent =
      send(socket_.get(), &answer, sizeof(answer), MSG_NOSIGNAL) == ssize_t{sizeof(answer)};
  if (!sent || !port.ok()) {
    End();
    return;
  }
  tether_ = std::make_unique<Tether>(
      lane_, std::move(socket_), [this] { Close(absl::UnavailableError("the worker is gone")); });
}

// On the address that the worker came to, so that UCX takes the network that leads there.
absl::StatusOr<uint16_t> UcxSession::OpenUcxListener() {
  SocketAddress local;
  local.bytes = sizeof(local.storage);
  if (getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&local.storage), &local.bytes) != 0) {
    return absl::InternalError("getsockname");
  }
  if (!UcxCanUse(local.storage)) return absl::InvalidArgumentError("not an address for UCX");
  SetPort(local, 0);
  ucp_listener_params_t params = {};
  params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
  params.sockaddr.addr = local.get();
  params.sockaddr.addrlen = local.bytes;
  params.conn_handler.cb = [](ucp_conn_request_h request, void* self) {
    static_cast<UcxSession*>(self)->OnConnection(request);
  };
  params.conn_handler.arg = this;
  CISTERN_RETURN_IF_ERROR(UcxStatus(ucp_listener_create(worker_->handle(), &params, &listener_),
                                    "opening a UCX listener"));
  ucp_listener_attr_t attributes = {};
  attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
  CISTERN_RETURN_IF_ERROR(
      UcxStatus(ucp_listener_query(listener_, &attributes), "asking a UCX listener"));
  return GetPort(attributes.sockaddr);
}

void UcxSession::CloseUcxListener() {
  if (listener_ == nullptr) return;
  if (request_ != nullptr) ucp_listener_reject(listener_, std::exchange(request_, nullptr));
  ucp_listener_destroy(std::exchange(listener_, nullptr));
}

void UcxSession::OnConnection(ucp_conn_request_h request) {
  if (request_ != nullptr || connection_ != nullptr) {
    ucp_listener_reject(listener_, request);
    return;
  }
  request_ = request;
  worker_->Defer([self = shared_from_this()] { self->Accept(); });
}

void UcxSession::Accept() {
  if (ended_ || request_ == nullptr) return;
  absl::StatusOr<std::shared_ptr<UcxConnection>> connection = worker_->Accept(
      std::exchange(request_, nullptr), shared_from_this(), server_->options().transfer_timeout);
  CloseUcxListener();
  if (connection.ok()) {
    connection_ = *std::move(connection);
  } else {
    End();
  }
}

void UcxSession::OnMessage(std::span<const std::byte> message, UcxPayload payload) {
  absl::Status status =
      core_->OnMessage(message, std::make_unique<UcxChannel>(connection_, payload));
  if (!status.ok()) connection_->Close(std::move(status), /*flush=*/true);
}

void UcxSession::OnBadFrame(const absl::Status&) { server_->CountBadMessage(); }

void UcxSession::OnClosed(const absl::Status&) { End(); }

void UcxSession::Close(absl::Status why) {
  if (connection_ != nullptr) {
    connection_->Close(std::move(why));
  } else {
    End();
  }
}

void UcxSession::End() {
  if (std::exchange(ended_, true)) return;
  const std::shared_ptr<UcxSession> self = shared_from_this();
  if (hello_timer_ != 0) lane_->CancelTimer(hello_timer_);
  if (watched_.id != 0) lane_->RemoveFd(watched_);
  CloseUcxListener();
  tether_.reset();
  socket_.Reset();
  core_->OnDisconnect();
  connection_.reset();
  absl::AnyInvocable<void()> on_end = std::move(on_end_);
  on_end();
}

}  // namespace cistern::transport
