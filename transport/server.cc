// A server: lanes, and the doors that workers come in by.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/mutex.h"
#include "base/status_macros.h"
#include "transport/rpc/lane.h"
#include "transport/rpc/server_core.h"
#include "transport/service.h"
#include "transport/shm/unix_listener.h"
#ifdef CISTERN_HAVE_UCX
#include "transport/ucx/ucx_server.h"
#endif

namespace cistern::transport {
namespace {

#ifndef CISTERN_HAVE_UCX
absl::StatusOr<std::unique_ptr<Listener>> ListenUcx(std::shared_ptr<ServerCore>,
                                                    const std::vector<Lane*>&) {
  return absl::UnimplementedError("this binary was built without UCX; leave the UCX address empty");
}
#endif

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, Service* service)
      : core_(std::make_shared<ServerCore>(options, service)) {}
  ~ServerImpl() override { Stop(); }

  absl::Status Start() {
    std::vector<Lane*> lanes;
    for (uint32_t i = 0; i < core_->options().lanes; ++i) {
      CISTERN_ASSIGN_OR_RETURN(auto lane, Lane::Start(absl::StrCat("lane-", i)));
      lanes.push_back(lane.get());
      lanes_.push_back(std::move(lane));
    }
    if (!core_->options().ucx_address.empty()) {
      CISTERN_ASSIGN_OR_RETURN(ucx_, ListenUcx(core_, lanes));
    }
    if (!core_->options().unix_path.empty()) {
      CISTERN_ASSIGN_OR_RETURN(unix_, ListenUnix(core_, lanes));
    }
    return absl::OkStatus();
  }

  std::string unix_path() const override { return core_->options().unix_path; }
  std::string ucx_address() const override { return ucx_ == nullptr ? "" : ucx_->address(); }
  ServerStats stats() const override { return core_->stats(); }

  void Stop() override {
    base::MutexLock lock(&stop_mutex_);
    if (std::exchange(stopped_, true)) return;
    for (Listener* listener : {unix_.get(), ucx_.get()}) {
      if (listener != nullptr) listener->CloseDoor();
    }
    for (uint32_t i = 0; i < lanes_.size(); ++i) {
      lanes_[i]->RunAndWait([&] {
        for (Listener* listener : {unix_.get(), ucx_.get()}) {
          if (listener != nullptr) listener->CloseSessions(i);
        }
      });
    }
    for (auto& lane : lanes_) lane->Stop();
  }

 private:
  const std::shared_ptr<ServerCore> core_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<Listener> unix_;  // destroyed before the lanes
  std::unique_ptr<Listener> ucx_;
  base::Mutex stop_mutex_;
  bool stopped_ ABSL_GUARDED_BY(stop_mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> StartServer(const ServerOptions& options,
                                                    Service* service) {
  if (options.unix_path.empty() && options.ucx_address.empty()) {
    return absl::InvalidArgumentError("a server needs a unix path or a UCX address to listen on");
  }
  if (options.lanes == 0 || options.lanes > kMaxLanes) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.lanes, " lanes; a server has 1 to ", kMaxLanes));
  }
  auto server = std::make_unique<ServerImpl>(options, service);
  CISTERN_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace cistern::transport
