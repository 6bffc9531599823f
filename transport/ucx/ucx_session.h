// A server's end of one UCX connection: its frames to the SessionCore, its calls' channels back.
//
// Thread   the lane's, but for the channels (server_core.h)
#pragma once

#include <memory>

#include "absl/status/status.h"

#include "transport/rpc/server_core.h"
#include "transport/ucx/ucx_connection.h"

namespace cistern::transport {

class UcxSession final : public UcxEvents {
 public:
  UcxSession(std::shared_ptr<ServerCore> server, std::shared_ptr<SessionCore> core)
      : server_(std::move(server)), core_(std::move(core)) {}
  ~UcxSession() override { core_->OnDisconnect(); }

  // Before its first event. Closes a connection that has not said hello in time.
  void Use(const std::shared_ptr<UcxConnection>& connection, Lane* lane);

  void OnMessage(std::span<const std::byte> message, UcxPayload payload) override;
  void OnBadFrame(const absl::Status& what) override;
  void OnClosed(const absl::Status& why) override;

 private:
  const std::shared_ptr<ServerCore> server_;
  const std::shared_ptr<SessionCore> core_;
  std::shared_ptr<UcxConnection> connection_;
  Lane* lane_ = nullptr;
  Lane::TimerId hello_timer_ = 0;
};

}  // namespace cistern::transport
