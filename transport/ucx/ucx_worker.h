// One UCX worker on one lane: its progress, its wake-up, its active messages and its connections.
//
//   Create ─► (Connect | Accept)* ─► CloseAll ─► ~UcxWorker
//
// The lane calls Progress while there is work and for some microseconds after it; an idle worker is
// armed and costs no CPU: its event descriptor wakes the lane.
//
// Thread   all on the lane's
// Errors   as UcxStatus translates them
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ucp/api/ucp.h"

#include "transport/rpc/lane.h"
#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_context.h"

namespace cistern::transport {

class UcxWorker final : public PollHook {
 public:
  // A message that came over no connection that we know: dropped, and told here.
  using OnStray = absl::AnyInvocable<void()>;

  static absl::StatusOr<std::unique_ptr<UcxWorker>> Create(std::shared_ptr<UcxContext> context,
                                                           Lane* lane, OnStray on_stray = nullptr);
  // Connections that are left are ended as if their peer had died. When the lane has stopped, any
  // one thread may destroy it.
  ~UcxWorker() override;
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  // The connection is used at once; whether anybody answers shows later (OnClosed).
  absl::StatusOr<std::shared_ptr<UcxConnection>> Connect(const SocketAddress& address,
                                                         std::shared_ptr<UcxEvents> events);
  // `request` came to a listener of any worker of the same context, and is used up. The connection
  // is closed when its peer stops, or lets one transfer wait for longer than `transfer_timeout`.
  absl::StatusOr<std::shared_ptr<UcxConnection>> Accept(ucp_conn_request_h request,
                                                        std::shared_ptr<UcxEvents> events,
                                                        absl::Duration transfer_timeout);

  // Closes all connections and works until they are gone or `patience` is over. With `flush`, what
  // has been sent is given that time to leave first.
  void CloseAll(const absl::Status& why, bool flush, absl::Duration patience);

  // Runs `task` soon, outside of UCX's callbacks, from which an endpoint must not be closed.
  void Defer(absl::AnyInvocable<void()> task) { deferred_.push_back(std::move(task)); }

  // Memory of kPieceBytes to pack a piece into.
  using PieceBuffer = std::unique_ptr<std::byte[]>;
  PieceBuffer TakePieceBuffer();
  void GivePieceBuffer(PieceBuffer buffer);

  bool Progress() override;
  bool Arm(bool at_once) override;

  ucp_worker_h handle() const { return handle_; }
  Lane* lane() const { return lane_; }
  size_t max_header_bytes() const { return max_header_bytes_; }
  size_t num_connections() const { return connections_.size(); }

 private:
  friend class UcxConnection;

  UcxWorker(std::shared_ptr<UcxContext> context, Lane* lane, OnStray on_stray);

  absl::Status Start();
  absl::Status Watch();
  absl::StatusOr<std::shared_ptr<UcxConnection>> CreateEndpoint(ucp_ep_params_t params,
                                                                std::shared_ptr<UcxEvents> events);
  void Forget(UcxConnection* connection);
  bool RunDeferred();
  void WorkUntilGone(MonoTime until);
  std::vector<std::shared_ptr<UcxConnection>> Connections() const;
  void Sweep();  // looks for stalled connections, now and again
  UcxConnection* Find(const ucp_am_recv_param_t* param);

  template <int kKind>
  static ucs_status_t OnActiveMessage(void* arg, const void* header, size_t header_bytes,
                                      void* data, size_t bytes, const ucp_am_recv_param_t* param);

  const std::shared_ptr<UcxContext> context_;
  Lane* const lane_;
  OnStray on_stray_;
  ucp_worker_h handle_ = nullptr;
  int event_fd_ = -1;
  Lane::TimerId sweep_timer_ = 0;
  size_t max_header_bytes_ = 0;
  MonoTime last_worked_;  // when Progress last had work
  std::vector<absl::AnyInvocable<void()>> deferred_;
  std::vector<PieceBuffer> piece_buffers_;  // kept for the next pieces
  absl::flat_hash_map<ucp_ep_h, UcxConnection*> by_endpoint_;
  absl::flat_hash_map<UcxConnection*, std::shared_ptr<UcxConnection>> connections_;
};

}  // namespace cistern::transport
