#include "transport/shm/unix_listener.h"

#include <string>
#include <utility>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "transport/shm/memfd.h"
#include "transport/shm/unix_session.h"
#include "transport/shm/unix_socket.h"

namespace cistern::transport {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

class UnixListener final : public Listener {
 public:
  UnixListener(std::shared_ptr<ServerCore> server, const std::vector<Lane*>& lanes,
               BoundSocket bound)
      : server_(std::move(server)), bound_(std::move(bound)) {
    for (Lane* lane : lanes) lanes_.push_back({lane, {}});
  }
  ~UnixListener() override { CloseDoor(); }

  absl::Status OpenDoor() {
    absl::Status status;
    Door()->RunAndWait([&] { status = Watch(); });
    return status;
  }

  std::string address() const override { return server_->options().unix_path; }

  void CloseDoor() override {
    if (std::exchange(door_closed_, true)) return;
    UnbindUnix(address(), bound_);
    Door()->RunAndWait([this] {
      if (pause_ != 0) Door()->CancelTimer(pause_);
      Door()->RemoveFd(token_);
      bound_.socket.Reset();
    });
  }

  void CloseSessions(uint32_t lane) override {
    // Each takes itself out of the map.
    auto sessions = lanes_[lane].sessions;
    for (auto& [id, session] : sessions) session->Close();
  }

 private:
  struct LaneSessions {
    Lane* lane = nullptr;
    absl::flat_hash_map<SessionId, std::shared_ptr<UnixSession>> sessions;  // the lane's own
  };

  Lane* Door() { return lanes_[0].lane; }

  absl::Status Watch() {
    CISTERN_ASSIGN_OR_RETURN(
        token_, Door()->AddFd(bound_.socket.get(), EPOLLIN, [this](uint32_t) { Accept(); }));
    return absl::OkStatus();
  }

  void Accept() {
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      UniqueFd socket(accept4(bound_.socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!socket.valid()) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
          return Pause();
        continue;  // that one connection failed
      }
      const uint32_t index = next_lane_++ % lanes_.size();
      lanes_[index].lane->Post(
          [this, index, socket = std::move(socket)]() mutable { Adopt(index, std::move(socket)); });
    }
  }

  // Out of descriptors: the connection stays in the backlog, where epoll would report it without
  // end.
  void Pause() {
    Door()->RemoveFd(token_);
    pause_ = Door()->AddTimer(After(MonoNow(), kAcceptPause), [this] {
      pause_ = 0;
      if (!Watch().ok()) Pause();
    });
  }

  // On the lane `index`.
  void Adopt(uint32_t index, UniqueFd socket) {
    auto core =
        server_->NewSession(index, PeerName(socket.get()), server_->options().arena_fd >= 0);
    if (core == nullptr) return;  // too many strangers: hang up
    LaneSessions* home = &lanes_[index];
    const SessionId id = core->id();
    auto session = std::make_shared<UnixSession>(server_, std::move(core), std::move(socket),
                                                 server_->options().arena_fd, mapped_,
                                                 [home, id] { home->sessions.erase(id); });
    home->sessions[id] = session;
    session->Start(home->lane).IgnoreError();  // a session that cannot start has closed itself
  }

  const std::shared_ptr<ServerCore> server_;
  const std::shared_ptr<ByteBudget> mapped_ =
      std::make_shared<ByteBudget>(server_->options().max_buffer_bytes);  // of all sessions
  BoundSocket bound_;
  std::vector<LaneSessions> lanes_;  // fixed after construction
  bool door_closed_ = false;
  // The door lane's own.
  Lane::FdToken token_;
  Lane::TimerId pause_ = 0;
  uint32_t next_lane_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> ListenUnix(std::shared_ptr<ServerCore> server,
                                                     const std::vector<Lane*>& lanes) {
  const ServerOptions& options = server->options();
  if (options.arena_fd >= 0) {
    CISTERN_RETURN_IF_ERROR(CheckReadOnlyMemfd(options.arena_fd, options.arena_bytes));
  }
  CISTERN_ASSIGN_OR_RETURN(BoundSocket bound, BindUnix(options.unix_path));
  auto listener = std::make_unique<UnixListener>(std::move(server), lanes, std::move(bound));
  CISTERN_RETURN_IF_ERROR(listener->OpenDoor());
  return listener;
}

}  // namespace cistern::transport
