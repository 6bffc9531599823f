#include "transport/ucx/ucx_server.h"

#include <cassert>
#include <string>
#include <utility>

#include <errno.h>
#include <sys/socket.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_door.h"
#include "transport/ucx/ucx_session.h"
#include "transport/ucx/ucx_worker.h"

namespace cistern::transport {
namespace {

constexpr absl::Duration kServerClosePatience = absl::Seconds(2);
constexpr absl::Duration kOutOfDescriptorsPause = absl::Milliseconds(100);

class UcxListener final : public Listener {
 public:
  UcxListener(std::shared_ptr<ServerCore> server, std::shared_ptr<UcxContext> context,
              const std::vector<Lane*>& lanes)
      : server_(std::move(server)),
        context_(std::move(context)),
        lanes_(lanes),
        hosted_(lanes.size()) {}

  // After CloseDoor and CloseSessions, or while the lanes still run.
  ~UcxListener() override {
    CloseDoor();
    for (size_t lane = 0; lane < lanes_.size(); ++lane) {
      lanes_[lane]->RunAndWait([this, lane] { CloseSessions(lane); });
      assert(hosted_[lane].worker == nullptr);
    }
  }

  absl::Status Listen(const SocketAddress& address) {
    RegisterArena();
    for (size_t lane = 0; lane < lanes_.size(); ++lane) {
      absl::Status status = absl::CancelledError("the lane has ended");
      lanes_[lane]->RunAndWait([&] { status = StartWorker(lane); });
      CISTERN_RETURN_IF_ERROR(status);
    }
    CISTERN_ASSIGN_OR_RETURN(door_, OpenDoor(address));
    sockaddr_storage bound = {};
    socklen_t bytes = sizeof(bound);
    getsockname(door_.get(), reinterpret_cast<sockaddr*>(&bound), &bytes);
    address_ = FormatSocketAddress(bound);
    absl::Status status = absl::CancelledError("the lane has ended");
    lanes_[0]->RunAndWait([&] { status = WatchDoor(); });
    return status;
  }

  std::string address() const override { return address_; }

  void CloseDoor() override {
    lanes_[0]->RunAndWait([this] {
      if (watched_.id != 0) lanes_[0]->RemoveFd(std::exchange(watched_, {}));
      if (pause_timer_ != 0) lanes_[0]->CancelTimer(std::exchange(pause_timer_, 0));
      door_.Reset();
    });
  }

  void CloseSessions(uint32_t lane) override {
    Hosted& hosted = hosted_[lane];
    if (hosted.worker == nullptr) return;
    const auto sessions = hosted.sessions;  // they leave as they end
    for (const auto& [key, session] : sessions) session->EndIfNotConnected();
    hosted.worker->CloseAll(absl::UnavailableError("the node stops"), /*flush=*/true,
                            kServerClosePatience);
    hosted.worker.reset();
    assert(hosted.sessions.empty());
  }

 private:
  // What lives on one lane.
  struct Hosted {
    std::unique_ptr<UcxWorker> worker;
    absl::flat_hash_map<UcxSession*, std::shared_ptr<UcxSession>> sessions;
  };

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
    CISTERN_ASSIGN_OR_RETURN(hosted_[lane].worker,
                             UcxWorker::Create(context_, lanes_[lane],
                                               [server = server_] { server->CountBadMessage(); }));
    return absl::OkStatus();
  }

  absl::Status WatchDoor() {
    CISTERN_ASSIGN_OR_RETURN(
        watched_, lanes_[0]->AddFd(door_.get(), EPOLLIN, [this](uint32_t) { OpenToAll(); }));
    return absl::OkStatus();
  }

  void OpenToAll() {
    while (true) {
      sockaddr_storage peer = {};
      socklen_t bytes = sizeof(peer);
      UniqueFd socket(accept4(door_.get(), reinterpret_cast<sockaddr*>(&peer), &bytes,
                              SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (socket.valid()) {
        LetIn(std::move(socket), FormatSocketAddress(peer));
      } else if (errno == EAGAIN) {
        return;
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        Pause();
        return;
      }
    }
  }

  // Who knocks stays in the kernel's queue, which would wake us for ever.
  void Pause() {
    lanes_[0]->SetEvents(watched_, 0);
    pause_timer_ = lanes_[0]->AddTimer(After(MonoNow(), kOutOfDescriptorsPause), [this] {
      pause_timer_ = 0;
      lanes_[0]->SetEvents(watched_, EPOLLIN);
    });
  }

  void LetIn(UniqueFd socket, const std::string& peer) {
    const uint32_t lane = next_lane_++ % lanes_.size();
    std::shared_ptr<SessionCore> core =
        server_->NewSession(lane, absl::StrCat("ucx ", peer), /*can_map=*/false);
    if (core == nullptr) return;  // too many
    auto session = std::make_shared<UcxSession>(server_, std::move(core), std::move(socket));
    lanes_[lane]->Post([this, lane, session] {
      Hosted& hosted = hosted_[lane];
      if (hosted.worker == nullptr) return;
      hosted.sessions[session.get()] = session;
      session->Start(lanes_[lane], hosted.worker.get(),
                     [&hosted, key = session.get()] { hosted.sessions.erase(key); });
    });
  }

  const std::shared_ptr<ServerCore> server_;
  const std::shared_ptr<UcxContext> context_;
  const std::vector<Lane*> lanes_;
  std::unique_ptr<UcxMemory> arena_;
  std::vector<Hosted> hosted_;  // each its lane's
  std::string address_;
  // Lane 0's.
  UniqueFd door_;
  Lane::FdToken watched_;
  Lane::TimerId pause_timer_ = 0;
  uint32_t next_lane_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> ListenUcx(std::shared_ptr<ServerCore> server,
                                                    const std::vector<Lane*>& lanes) {
  CISTERN_ASSIGN_OR_RETURN(auto addresses, ResolveHostPort(server->options().ucx_address, true));
  const SocketAddress address = addresses.front();
  CISTERN_ASSIGN_OR_RETURN(auto context, UcxContext::Create(address.storage.ss_family));
  auto listener = std::make_unique<UcxListener>(std::move(server), std::move(context), lanes);
  CISTERN_RETURN_IF_ERROR(listener->Listen(address));
  return listener;
}

}  // namespace cistern::transport
