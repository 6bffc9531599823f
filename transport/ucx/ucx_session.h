// A server's end of one worker, from its knock to its end: the UCX listener that is opened for it,
// its connection's frames to the SessionCore, its calls' channels back.
//
//   Start ─► (knock) ─► (UCX connection) ─► (hello, calls) ─► End
//
// Whoever has not said hello by hello_timeout is closed, wherever it got to.
//
// Thread   the lane's, but for construction and the channels (server_core.h)
#pragma once

#include <cstddef>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ucp/api/ucp.h"

#include "transport/rpc/lane.h"
#include "transport/rpc/server_core.h"
#include "transport/shm/unique_fd.h"
#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_door.h"

namespace cistern::transport {

class UcxSession final : public UcxEvents, public std::enable_shared_from_this<UcxSession> {
 public:
  // `socket` is connected and does not block.
  UcxSession(std::shared_ptr<ServerCore> server, std::shared_ptr<SessionCore> core,
             UniqueFd socket);
  ~UcxSession() override;

  // `on_end` runs once, last. `worker` is `lane`'s.
  void Start(Lane* lane, UcxWorker* worker, absl::AnyInvocable<void()> on_end);

  // What has no connection yet ends at once; a connection is its worker's to close.
  void EndIfNotConnected() {
    if (connection_ == nullptr) End();
  }

  void OnMessage(std::span<const std::byte> message, UcxPayload payload) override;
  void OnBadFrame(const absl::Status& what) override;
  void OnClosed(const absl::Status& why) override;

 private:
  void ReadKnock();
  void OnKnock();
  absl::StatusOr<uint16_t> OpenUcxListener();
  void CloseUcxListener();
  void OnConnection(ucp_conn_request_h request);  // in UCX's callback
  void Accept();
  void Close(absl::Status why);
  void End();

  const std::shared_ptr<ServerCore> server_;
  const std::shared_ptr<SessionCore> core_;
  UniqueFd socket_;
  Lane* lane_ = nullptr;
  UcxWorker* worker_ = nullptr;
  absl::AnyInvocable<void()> on_end_;
  bool ended_ = false;
  Lane::TimerId hello_timer_ = 0;
  Lane::FdToken watched_;  // while the knock is read
  Knock knock_ = {};
  size_t knock_bytes_ = 0;  // read so far
  ucp_listener_h listener_ = nullptr;
  ucp_conn_request_h request_ = nullptr;  // came, not accepted yet
  std::unique_ptr<Tether> tether_;
  std::shared_ptr<UcxConnection> connection_;
};

}  // namespace cistern::transport
