// How a connection ends: flush if asked, close the endpoint by force, wait for what is under way.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_operation.h"
#include "transport/ucx/ucx_worker.h"

namespace cistern::transport {

void UcxConnection::OnEndpointError(void* self, ucp_ep_h, ucs_status_t status) {
  static_cast<UcxConnection*>(self)->CloseNow(
      absl::UnavailableError(absl::StrCat("the peer is gone: ", ucs_status_string(status))), false);
}

// Called from UCX's callbacks too, where an endpoint must not be closed: that comes right after.
void UcxConnection::CloseNow(absl::Status why, bool flush) {
  if (worker_ == nullptr) return;
  const bool first = open_.exchange(false, std::memory_order_acq_rel);
  if (first) why_ = std::move(why);
  if (flush && !first) return;
  worker_->Defer([self = shared_from_this(), flush] {
    if (flush) {
      self->StartFlush();
    } else {
      self->CloseEndpoint();
    }
  });
}

void UcxConnection::StartFlush() {
  if (endpoint_ == nullptr) return;
  flush_timer_ = worker_->lane()->AddTimer(After(MonoNow(), kFlushPatience),
                                           [self = shared_from_this()] { self->CloseEndpoint(); });
  auto* operation = new Operation();
  operation->connection = shared_from_this();
  operation->done = [this](Operation&, const absl::Status&) {
    if (worker_ != nullptr) worker_->Defer([self = shared_from_this()] { self->CloseEndpoint(); });
  };
  operations_.insert(operation);
  ucp_request_param_t param = {};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = &OnSendDone;
  param.user_data = operation;
  Began(operation, ucp_ep_flush_nbx(endpoint_, &param));
}

void UcxConnection::CloseEndpoint() {
  if (endpoint_ == nullptr || worker_ == nullptr) return;
  open_.store(false, std::memory_order_release);
  const std::shared_ptr<UcxConnection> self = shared_from_this();
  if (flush_timer_ != 0 && worker_->lane()->OnLaneThread()) {
    worker_->lane()->CancelTimer(flush_timer_);
  }
  flush_timer_ = 0;
  for (auto& [id, data] : held_) Release(data);
  held_.clear();
  halves_.clear();
  long_messages_.clear();
  outbox_.Clear();
  inbox_.Clear();
  worker_->by_endpoint_.erase(endpoint_);

  ucp_request_param_t param = {};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucs_status_ptr_t request = ucp_ep_close_nbx(std::exchange(endpoint_, nullptr), &param);
  if (UCS_PTR_IS_PTR(request)) ucp_request_free(request);
  TryFinishClosing();
}

// The last step: nothing of this connection is left in UCX.
void UcxConnection::TryFinishClosing() {
  if (endpoint_ != nullptr || !operations_.empty() || worker_ == nullptr) return;
  const std::shared_ptr<UcxConnection> self = shared_from_this();
  {
    base::MutexLock lock(&mutex_);
    lane_ = nullptr;
  }
  std::exchange(worker_, nullptr)->Forget(this);
  const std::shared_ptr<UcxEvents> events = std::move(events_);
  events->OnClosed(why_);
}

void UcxConnection::Abort() {
  while (!operations_.empty()) {
    Operation* const operation = *operations_.begin();
    Finish(operation, UCS_ERR_CANCELED);
  }
  TryFinishClosing();
}

bool UcxConnection::Stalled(MonoTime now) const {
  if (transfer_timeout_ == absl::InfiniteDuration() || !open()) return false;
  const MonoTime oldest = std::min(inbox_.oldest(), outbox_.oldest());
  if (oldest != kNever && now > After(oldest, transfer_timeout_)) return true;
  if (operations_.empty()) return false;
  if (now > After(last_finished_, kStalledAfter)) return true;
  // Others may end all the time: none waits for ever.
  return std::any_of(operations_.begin(), operations_.end(), [&](const Operation* operation) {
    return now > After(operation->begun, transfer_timeout_);
  });
}

}  // namespace cistern::transport
