#include "transport/ucx/ucx_server.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_session.h"
#include "transport/ucx/ucx_status.h"
#include "transport/ucx/ucx_worker.h"

namespace cistern::transport {
namespace {

constexpr absl::Duration kClosePatience = absl::Seconds(2);

class UcxListener final : public Listener {
 public:
  UcxListener(std::shared_ptr<ServerCore> server, std::shared_ptr<UcxContext> context,
              const std::vector<Lane*>& lanes)
      : server_(std::move(server)),
        context_(std::move(context)),
        lanes_(lanes),
        workers_(lanes.size()) {}

  ~UcxListener() override {
    CloseDoor();
    for (size_t lane = 0; lane < lanes_.size(); ++lane) {
      const bool ran = lanes_[lane]->RunAndWait([this, lane] { CloseSessions(lane); });
      if (!ran) workers_[lane].reset();  // its lane has ended: nobody else touches it
    }
  }

  absl::Status Listen(const SocketAddress& address) {
    RegisterArena();
    for (size_t lane = 0; lane < lanes_.size(); ++lane) {
      absl::Status status = absl::CancelledError("the lane has ended");
      lanes_[lane]->RunAndWait([&] { status = StartWorker(lane); });
      if (!status.ok()) return status;
    }
    absl::Status status = absl::CancelledError("the lane has ended");
    lanes_[0]->RunAndWait([&] { status = OpenDoor(address); });
    return status;
  }

  std::string address() const override { return address_; }

  void CloseDoor() override {
    // Requests that are on their way to their lanes still need the listener.
    lanes_[0]->RunAndWait([this] { door_open_ = false; });
    for (Lane* lane : lanes_) lane->RunAndWait([] {});
    if (!lanes_[0]->RunAndWait([this] { DestroyListener(); })) DestroyListener();
  }

  void CloseSessions(uint32_t lane) override {
    if (workers_[lane] == nullptr) return;
    workers_[lane]->CloseAll(absl::UnavailableError("the node stops"), /*flush=*/true,
                             kClosePatience);
    workers_[lane].reset();
  }

 private:
  // So that reading from the arena and writing to it need no registration on the way. A device that
  // cannot have all of it gets the pieces when they are used.
  void RegisterArena() {
    const ServerOptions& options = server_->options();
    if (options.arena == nullptr || options.arena_bytes == 0) return;
    absl::StatusOr<std::unique_ptr<UcxMemory>> arena =
        UcxMemory::Register(context_, const_cast<std::byte*>(options.arena), options.arena_bytes);
    if (arena.ok()) arena_ = *std::move(arena);
  }

  absl::Status StartWorker(size_t lane) {
    absl::StatusOr<std::unique_ptr<UcxWorker>> worker = UcxWorker::Create(
        context_, lanes_[lane], [server = server_] { server->CountBadMessage(); });
    if (!worker.ok()) return worker.status();
    workers_[lane] = *std::move(worker);
    return absl::OkStatus();
  }

  absl::Status OpenDoor(const SocketAddress& address) {
    ucp_listener_params_t params = {};
    params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
    params.sockaddr.addr = address.get();
    params.sockaddr.addrlen = address.bytes;
    params.conn_handler.cb = [](ucp_conn_request_h request, void* self) {
      static_cast<UcxListener*>(self)->OnConnection(request);
    };
    params.conn_handler.arg = this;
    const std::string where = FormatSocketAddress(address.storage);
    ucs_status_t status = ucp_listener_create(workers_[0]->handle(), &params, &listener_);
    if (status == UCS_ERR_BUSY) {
      return absl::AlreadyExistsError(
          absl::StrCat("another process listens at ", where, "; stop it or choose another port"));
    }
    if (status != UCS_OK) {
      listener_ = nullptr;
      return absl::UnavailableError(absl::StrCat("cannot listen at ", where, ": ",
                                                 ucs_status_string(status),
                                                 "; is it an address of this machine?"));
    }
    ucp_listener_attr_t attributes = {};
    attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
    status = ucp_listener_query(listener_, &attributes);
    if (status != UCS_OK) return UcxStatus(status, "asking the UCX listener for its port");
    address_ = FormatSocketAddress(attributes.sockaddr);
    door_open_ = true;
    return absl::OkStatus();
  }

  // In a callback of lane 0's worker.
  void OnConnection(ucp_conn_request_h request) {
    ucp_conn_request_attr_t attributes = {};
    attributes.field_mask = UCP_CONN_REQUEST_ATTR_FIELD_CLIENT_ADDR;
    std::string peer = "ucx ?";
    if (ucp_conn_request_query(request, &attributes) == UCS_OK) {
      peer = absl::StrCat("ucx ", FormatSocketAddress(attributes.client_address));
    }
    const uint32_t lane = next_lane_++ % lanes_.size();
    std::shared_ptr<SessionCore> core;
    if (door_open_) core = server_->NewSession(lane, std::move(peer), /*can_map=*/false);
    if (core == nullptr) {
      ucp_listener_reject(listener_, request);
      return;
    }
    auto session = std::make_shared<UcxSession>(server_, core);
    const bool posted =
        lanes_[lane]->Post([this, lane, request, session] { Accept(lane, request, session); });
    if (!posted) ucp_listener_reject(listener_, request);
  }

  void Accept(uint32_t lane, ucp_conn_request_h request,
              const std::shared_ptr<UcxSession>& session) {
    UcxWorker& worker = *workers_[lane];
    absl::StatusOr<std::shared_ptr<UcxConnection>> connection = worker.Accept(request, session);
    if (connection.ok()) session->Use(*connection, lanes_[lane]);
  }

  void DestroyListener() {
    if (listener_ != nullptr) ucp_listener_destroy(std::exchange(listener_, nullptr));
  }

  const std::shared_ptr<ServerCore> server_;
  const std::shared_ptr<UcxContext> context_;
  const std::vector<Lane*> lanes_;
  std::unique_ptr<UcxMemory> arena_;
  std::vector<std::unique_ptr<UcxWorker>> workers_;  // each its lane's
  std::string address_;
  // Lane 0's.
  ucp_listener_h listener_ = nullptr;
  bool door_open_ = false;
  uint32_t next_lane_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> ListenUcx(std::shared_ptr<ServerCore> server,
                                                    const std::vector<Lane*>& lanes) {
  absl::StatusOr<std::vector<SocketAddress>> addresses =
      ResolveHostPort(server->options().ucx_address, true);
  if (!addresses.ok()) return addresses.status();
  absl::StatusOr<std::shared_ptr<UcxContext>> context = UcxContext::Create();
  if (!context.ok()) return context.status();
  auto listener = std::make_unique<UcxListener>(std::move(server), *std::move(context), lanes);
  absl::Status status = listener->Listen(addresses->front());
  if (!status.ok()) return status;
  return listener;
}

}  // namespace cistern::transport
