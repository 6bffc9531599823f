#include "transport/ucx/ucx_worker.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <poll.h>

#include "base/status_macros.h"
#include "transport/ucx/ucx_status.h"

namespace cistern::transport {
namespace {

constexpr int kProgressPerTurn = 32;  // then the lane looks at its other work
constexpr absl::Duration kSweepEvery = absl::Seconds(5);
constexpr int kWaitMs = 10;
constexpr size_t kPieceBuffersKept = 16;
// How long after work the lane goes on looking for more before it sleeps: a wake-up costs about as
// much. A longer one takes the processor from those who have work where there are few (README.md).
constexpr std::chrono::microseconds kSpin(20);

}  // namespace

UcxWorker::UcxWorker(std::shared_ptr<UcxContext> context, Lane* lane, OnStray on_stray)
    : context_(std::move(context)), lane_(lane), on_stray_(std::move(on_stray)) {}

absl::StatusOr<std::unique_ptr<UcxWorker>> UcxWorker::Create(std::shared_ptr<UcxContext> context,
                                                             Lane* lane, OnStray on_stray) {
  std::unique_ptr<UcxWorker> worker(new UcxWorker(std::move(context), lane, std::move(on_stray)));
  absl::Status started = worker->Start();
  if (!started.ok()) return started;
  return worker;
}

absl::Status UcxWorker::Start() {
  ucp_worker_params_t params = {};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;  // the lane's thread, and whoever ends it
  ucs_status_t status = ucp_worker_create(context_->handle(), &params, &handle_);
  if (status != UCS_OK) return UcxStatus(status, "creating a UCX worker");

  ucp_worker_attr_t attributes = {};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  status = ucp_worker_query(handle_, &attributes);
  if (status != UCS_OK) return UcxStatus(status, "asking a UCX worker");
  max_header_bytes_ = attributes.max_am_header;

  ucp_am_handler_param_t handler = {};
  handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                       UCP_AM_HANDLER_PARAM_FIELD_ARG;
  handler.arg = this;
  const auto listen = [&](UcxFrameKind kind, ucp_am_recv_callback_t callback) {
    handler.id = static_cast<unsigned>(kind);
    handler.cb = callback;
    if (status == UCS_OK) status = ucp_worker_set_am_recv_handler(handle_, &handler);
  };
  listen(UcxFrameKind::kCall, &OnActiveMessage<static_cast<int>(UcxFrameKind::kCall)>);
  listen(UcxFrameKind::kMessage, &OnActiveMessage<static_cast<int>(UcxFrameKind::kMessage)>);
  listen(UcxFrameKind::kPayload, &OnActiveMessage<static_cast<int>(UcxFrameKind::kPayload)>);
  listen(UcxFrameKind::kPiece, &OnActiveMessage<static_cast<int>(UcxFrameKind::kPiece)>);
  listen(UcxFrameKind::kPull, &OnActiveMessage<static_cast<int>(UcxFrameKind::kPull)>);
  listen(UcxFrameKind::kRefuse, &OnActiveMessage<static_cast<int>(UcxFrameKind::kRefuse)>);
  listen(UcxFrameKind::kWithdrawn, &OnActiveMessage<static_cast<int>(UcxFrameKind::kWithdrawn)>);
  if (status != UCS_OK) return UcxStatus(status, "setting a UCX message handler");
  return Watch();
}

absl::Status UcxWorker::Watch() {
  int fd = -1;
  const ucs_status_t status = ucp_worker_get_efd(handle_, &fd);
  if (status != UCS_OK) return UcxStatus(status, "asking for a UCX worker's event descriptor");
  CISTERN_RETURN_IF_ERROR(lane_->AddPollHook(this, fd));
  event_fd_ = fd;
  Sweep();
  return absl::OkStatus();
}

UcxWorker::~UcxWorker() {
  if (event_fd_ >= 0 && lane_->OnLaneThread()) {
    lane_->CancelTimer(sweep_timer_);
    lane_->RemovePollHook(this);
  }
  for (const auto& connection : Connections()) connection->CloseEndpoint();
  if (handle_ != nullptr) ucp_worker_destroy(handle_);
  while (!connections_.empty()) {
    const std::shared_ptr<UcxConnection> connection = connections_.begin()->second;
    connections_.erase(connections_.begin());
    connection->Abort();
  }
  deferred_.clear();
}

absl::StatusOr<std::shared_ptr<UcxConnection>> UcxWorker::Connect(
    const SocketAddress& address, std::shared_ptr<UcxEvents> events) {
  ucp_ep_params_t params = {};
  params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr.addr = address.get();
  params.sockaddr.addrlen = address.bytes;
  return CreateEndpoint(params, std::move(events));
}

absl::StatusOr<std::shared_ptr<UcxConnection>> UcxWorker::Accept(ucp_conn_request_h request,
                                                                 std::shared_ptr<UcxEvents> events,
                                                                 absl::Duration transfer_timeout) {
  ucp_ep_params_t params = {};
  params.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST;
  params.conn_request = request;
  absl::StatusOr<std::shared_ptr<UcxConnection>> accepted =
      CreateEndpoint(params, std::move(events));
  if (accepted.ok()) (*accepted)->transfer_timeout_ = transfer_timeout;
  return accepted;
}

absl::StatusOr<std::shared_ptr<UcxConnection>> UcxWorker::CreateEndpoint(
    ucp_ep_params_t params, std::shared_ptr<UcxEvents> events) {
  auto connection = std::make_shared<UcxConnection>(this, std::move(events));
  params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = &UcxConnection::OnEndpointError;
  params.err_handler.arg = connection.get();
  const ucs_status_t status = ucp_ep_create(handle_, &params, &connection->endpoint_);
  if (status != UCS_OK) return UcxStatus(status, "connecting");
  by_endpoint_[connection->endpoint_] = connection.get();
  connections_[connection.get()] = connection;
  return connection;
}

void UcxWorker::Forget(UcxConnection* connection) { connections_.erase(connection); }

void UcxWorker::CloseAll(const absl::Status& why, bool flush, absl::Duration patience) {
  for (const auto& connection : Connections()) connection->Close(why, flush);
  if (flush) {
    WorkUntilGone(After(MonoNow(), std::min(patience, UcxConnection::kFlushPatience)));
    for (const auto& connection : Connections()) connection->CloseEndpoint();
  }
  WorkUntilGone(After(MonoNow(), patience));
}

void UcxWorker::WorkUntilGone(MonoTime until) {
  while (!connections_.empty() && MonoNow() < until) {
    if (Progress() || !Arm(/*at_once=*/false)) continue;
    pollfd wait = {.fd = event_fd_, .events = POLLIN, .revents = 0};
    poll(&wait, 1, kWaitMs);
  }
}

std::vector<std::shared_ptr<UcxConnection>> UcxWorker::Connections() const {
  std::vector<std::shared_ptr<UcxConnection>> all;
  all.reserve(connections_.size());
  for (const auto& [connection, owner] : connections_) all.push_back(owner);
  return all;
}

UcxWorker::PieceBuffer UcxWorker::TakePieceBuffer() {
  if (piece_buffers_.empty()) {
    return std::make_unique_for_overwrite<std::byte[]>(kPieceBytes);
  }
  PieceBuffer buffer = std::move(piece_buffers_.back());
  piece_buffers_.pop_back();
  return buffer;
}

void UcxWorker::GivePieceBuffer(PieceBuffer buffer) {
  if (piece_buffers_.size() < kPieceBuffersKept) piece_buffers_.push_back(std::move(buffer));
}

bool UcxWorker::RunDeferred() {
  if (deferred_.empty()) return false;
  std::vector<absl::AnyInvocable<void()>> tasks;
  tasks.swap(deferred_);
  for (absl::AnyInvocable<void()>& task : tasks) task();
  return true;
}

bool UcxWorker::Progress() {
  bool any = false;
  for (int i = 0; i < kProgressPerTurn; ++i) {
    const bool worked = ucp_worker_progress(handle_) != 0;
    if (!worked && !RunDeferred()) break;
    any = true;
    RunDeferred();
  }
  if (any) last_worked_ = MonoNow();
  return any;
}

bool UcxWorker::Arm(bool at_once) {
  if (!deferred_.empty()) return false;
  if (!at_once && MonoNow() - last_worked_ < kSpin) return false;
  return ucp_worker_arm(handle_) == UCS_OK;
}

void UcxWorker::Sweep() {
  const MonoTime now = MonoNow();
  for (const auto& [connection, owner] : connections_) {
    if (connection->Stalled(now)) {
      connection->Close(absl::DeadlineExceededError("the peer has stopped: it takes no bytes"));
    }
  }
  sweep_timer_ = lane_->AddTimer(After(now, kSweepEvery), [this] { Sweep(); });
}

UcxConnection* UcxWorker::Find(const ucp_am_recv_param_t* param) {
  if ((param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) == 0) return nullptr;
  const auto it = by_endpoint_.find(param->reply_ep);
  return it == by_endpoint_.end() ? nullptr : it->second;
}

template <int kKind>
ucs_status_t UcxWorker::OnActiveMessage(void* arg, const void* header, size_t header_bytes,
                                        void* data, size_t bytes,
                                        const ucp_am_recv_param_t* param) {
  auto* self = static_cast<UcxWorker*>(arg);
  UcxConnection* connection = self->Find(param);
  if (connection == nullptr || !connection->open()) {
    if (connection == nullptr && self->on_stray_ != nullptr) self->on_stray_();
    return UCS_OK;  // dropped
  }
  UcxConnection::Data frame;
  frame.descriptor = data;
  frame.bytes = bytes;
  frame.rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  frame.in_callback = true;
  const bool can_keep = frame.rendezvous || (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) != 0;
  const std::span<const std::byte> head(static_cast<const std::byte*>(header), header_bytes);
  return connection->OnFrame(static_cast<UcxFrameKind>(kKind), head, std::move(frame), can_keep);
}

}  // namespace cistern::transport
