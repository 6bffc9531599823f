#include "transport/ucx/ucx_session.h"

#include <utility>

#include "transport/rpc/mono_time.h"

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

  void ReceivePayload(std::vector<MutableSlice> into, Received done) override {
    if (!waiting()) {
      done(absl::OkStatus());
      return;
    }
    received_ = true;
    connection_->Receive(payload_, std::move(into), std::move(done));
  }

  void SendReply(std::string message, std::vector<Slice> payload, Sent sent) override {
    connection_->Send(std::move(message), std::move(payload), std::move(sent));
  }

 private:
  bool waiting() const { return payload_.id != 0 && !received_; }

  const std::shared_ptr<UcxConnection> connection_;
  const UcxPayload payload_;
  bool received_ = false;
};

}  // namespace

void UcxSession::Use(const std::shared_ptr<UcxConnection>& connection, Lane* lane) {
  connection_ = connection;
  lane_ = lane;
  const MonoTime until = After(MonoNow(), server_->options().hello_timeout);
  hello_timer_ = lane_->AddTimer(until, [this] {
    hello_timer_ = 0;
    if (core_->opened()) return;
    connection_->Close(absl::DeadlineExceededError("the peer has not said hello"));
  });
}

void UcxSession::OnMessage(std::span<const std::byte> message, UcxPayload payload) {
  absl::Status status =
      core_->OnMessage(message, std::make_unique<UcxChannel>(connection_, payload));
  if (!status.ok()) connection_->Close(std::move(status), /*flush=*/true);
}

void UcxSession::OnBadFrame(const absl::Status&) { server_->CountBadMessage(); }

void UcxSession::OnClosed(const absl::Status&) {
  if (hello_timer_ != 0) lane_->CancelTimer(hello_timer_);
  core_->OnDisconnect();
  connection_.reset();
}

}  // namespace cistern::transport
