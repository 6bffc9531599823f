#include "transport/ucx/ucx_connection.h"

#include <cassert>
#include <utility>

#include <string.h>

#include "transport/ucx/ucx_operation.h"
#include "transport/ucx/ucx_status.h"
#include "transport/ucx/ucx_worker.h"

namespace cistern::transport {

UcxConnection::UcxConnection(UcxWorker* worker, std::shared_ptr<UcxEvents> events)
    : lane_(worker->lane()), worker_(worker), events_(std::move(events)) {}

UcxConnection::~UcxConnection() { assert(endpoint_ == nullptr && operations_.empty()); }

// A task that finds no lane is destroyed here, outside of the lock: what must run runs then.
void UcxConnection::RunOnLane(absl::AnyInvocable<void()> task) {
  auto shared = std::make_shared<absl::AnyInvocable<void()>>(std::move(task));
  {
    base::MutexLock lock(&mutex_);
    if (lane_ == nullptr) return;
    if (!lane_->OnLaneThread()) {
      lane_->Post([shared] { (*shared)(); });
      return;
    }
  }
  (*shared)();
}

void UcxConnection::Send(std::string message, std::vector<Slice> payload, Sent sent,
                         UcxSendOptions options) {
  RunOnLane([self = shared_from_this(), message = std::move(message), payload = std::move(payload),
             sent = std::move(sent), options]() mutable {
    self->SendNow(std::move(message), std::move(payload), std::move(sent), options);
  });
}

void UcxConnection::Receive(UcxPayload payload, std::vector<MutableSlice> into, Received done) {
  RunOnLane(
      [self = shared_from_this(), payload, into = std::move(into),
       done = std::move(done)]() mutable { self->ReceiveNow(payload, into, std::move(done)); });
}

void UcxConnection::Drop(UcxPayload payload) {
  RunOnLane([self = shared_from_this(), payload] {
    const auto it = self->held_.find(payload.id);
    if (it == self->held_.end()) return;
    self->Release(it->second);
    self->held_.erase(it);
  });
}

void UcxConnection::Close(absl::Status why, bool flush) {
  RunOnLane([self = shared_from_this(), why = std::move(why), flush]() mutable {
    self->CloseNow(std::move(why), flush);
  });
}

void UcxConnection::SendNow(std::string message, std::vector<Slice> payload, Sent sent,
                            UcxSendOptions options) {
  if (!open()) return;  // `sent` runs as it goes
  if (InPieces(TotalBytes(payload))) {
    SendInPieces(std::move(message), std::move(payload), std::move(sent), options);
    return;
  }
  if (message.size() <= worker_->max_header_bytes()) {
    Post(UcxFrameKind::kCall, std::move(message), {}, payload, std::move(sent));
    return;
  }
  const LongHeader header = {.tag = next_tag_++, .payload_bytes = TotalBytes(payload)};
  const bool has_payload = header.payload_bytes != 0;
  if (!has_payload) {
    Post(UcxFrameKind::kMessage, HeaderBytes(header), std::move(message), {}, std::move(sent));
    return;
  }
  Post(UcxFrameKind::kMessage, HeaderBytes(header), std::move(message), {}, Sent());
  if (!open()) return;
  Post(UcxFrameKind::kPayload, HeaderBytes(LateHeader{header.tag}), {}, payload, std::move(sent));
}

void UcxConnection::Post(UcxFrameKind kind, std::string header, std::string body,
                         const std::vector<Slice>& payload, Sent sent) {
  auto* operation = new Operation();
  operation->connection = shared_from_this();
  operation->header = std::move(header);
  operation->body = std::move(body);
  operation->Add(operation->body.data(), operation->body.size());
  operation->Add(payload);
  operation->done = [sent = std::move(sent)](Operation&, const absl::Status&) mutable { sent(); };
  if (operations_.empty()) last_finished_ = MonoNow();
  operations_.insert(operation);

  ucp_request_param_t param = {};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                       UCP_OP_ATTR_FIELD_DATATYPE | UCP_OP_ATTR_FIELD_FLAGS;
  param.cb.send = &OnSendDone;
  param.user_data = operation;
  param.datatype = operation->datatype();
  // The reply flag makes the other end know which connection this came over.
  param.flags = UCP_AM_SEND_FLAG_REPLY |
                (operation->bytes() > kEagerBytes ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER);
  Began(operation,
        ucp_am_send_nbx(endpoint_, static_cast<unsigned>(kind), operation->header.data(),
                        operation->header.size(), operation->buffer(), operation->count(), &param));
}

void UcxConnection::Began(Operation* operation, ucs_status_ptr_t request) {
  if (request == nullptr) {
    Finish(operation, UCS_OK);
  } else if (UCS_PTR_IS_ERR(request)) {
    Finish(operation, UCS_PTR_STATUS(request));
  }
}

void UcxConnection::OnSendDone(void* request, ucs_status_t status, void* operation) {
  ucp_request_free(request);
  auto* done = static_cast<Operation*>(operation);
  done->connection->Finish(done, status);
}

void UcxConnection::OnReceiveDone(void* request, ucs_status_t status, size_t, void* operation) {
  ucp_request_free(request);
  auto* done = static_cast<Operation*>(operation);
  done->connection->Finish(done, status);
}

void UcxConnection::Finish(Operation* operation, ucs_status_t status) {
  const std::shared_ptr<UcxConnection> self = std::move(operation->connection);
  const std::unique_ptr<Operation> owned(operation);
  operations_.erase(operation);
  last_finished_ = MonoNow();
  absl::Status result = UcxStatus(status, "a transfer ended");
  if (!result.ok()) CloseNow(result, false);
  operation->done(*operation, std::move(result));
  TryFinishClosing();
}

}  // namespace cistern::transport
