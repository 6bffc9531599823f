// A node that serves, and how it stops.
#include "cacheserver/node.h"

#include <chrono>
#include <utility>

#include "base/status_macros.h"
#include "cacheserver/node_impl.h"
#include "cacheserver/summary.h"
#include "cacheserver/version.h"

namespace cistern::cacheserver {
namespace {

constexpr absl::Duration kHousekeepEvery = absl::Seconds(1);

}  // namespace

void Node::Impl::Housekeep() {
  Summary summary(log);
  for (;;) {
    {
      base::MutexLock lock(&timer_mutex);
      timer_changed.wait_for(timer_mutex, absl::ToChronoNanoseconds(kHousekeepEvery),
                             [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return timer_stop; });
      if (timer_stop) return;
    }
    service->Housekeep();
    summary.Update(store->With([](storage::Store& locked) { return locked.Stats(); }),
                   clock->Now());
  }
}

void Node::Impl::StopServer() {
  transport::Server* open = nullptr;
  {
    base::MutexLock lock(&server_mutex);
    open = server.get();  // its sessions' last calls may ask for its counters
  }
  if (open != nullptr) open->Stop();
}

void Node::Impl::StopThreads() {
  if (!service->Drain(config.drain_timeout))
    log->Warning("calls were still in progress when the node stopped",
                 {{"waited", absl::FormatDuration(config.drain_timeout)}});
  room->Stop();  // who still waits is answered while there is a connection
  StopServer();
  if (timer.joinable()) {
    {
      base::MutexLock lock(&timer_mutex);
      timer_stop = true;
    }
    timer_changed.notify_all();
    timer.join();
  }
  if (stager != nullptr) stager->Stop();
  copy_pool->Stop();
  if (disk_pool != nullptr) disk_pool->Stop();
}

// From the top down: what the device holds reaches host memory while that is still written to disk.
void Node::Impl::StopTiers() {
  if (demoter == nullptr) return;
  if (serving && config.flush_on_stop && disk != nullptr) {
    FlushTiers(*demoter, host == nullptr ? nullptr : host->demoter(),
               clock->Now() + config.flush_timeout, [this](const FlushReport& report) {
                 log->Info("memory written to disk",
                           {{"objects", report.objects},
                            {"bytes", report.bytes},
                            {"failures", report.failures},
                            {"not_written_bytes", report.dirty_bytes_left},
                            {"error", report.first_error}});
               });
  } else if (host != nullptr) {
    host->StopWaiting();
  }
  demoter->Stop();  // answers the flush first
  if (host != nullptr) host->Stop();
  if (serving) WarnOfUnsaved();
}

// A flush has said what it left behind.
void Node::Impl::WarnOfUnsaved() {
  if (disk == nullptr || config.flush_on_stop) return;
  const auto dirty = [](LockedStore& of) {
    return of.With([](storage::Store& locked) { return locked.Stats().dirty_bytes; });
  };
  const uint64_t bytes = dirty(*store) + (host == nullptr ? 0 : dirty(host->store()));
  if (bytes == 0) return;
  log->Warning("what lies in memory only goes with the node; flush_on_stop would have kept it",
               {{"bytes", bytes}});
}

absl::StatusOr<std::unique_ptr<Node>> Node::Start(const NodeConfig& config, Log* log,
                                                  const base::Clock* clock, Door door) {
  CISTERN_RETURN_IF_ERROR(ValidateConfig(config));
  std::unique_ptr<Node> node(new Node(std::make_unique<Impl>(config, log, clock)));
  Impl& impl = *node->impl_;
  CISTERN_RETURN_IF_ERROR(impl.OpenStorage());
  CISTERN_RETURN_IF_ERROR(impl.RegisterModels());
  impl.StartLoading();
  impl.StartThreads();
  CISTERN_RETURN_IF_ERROR(impl.OpenDoor(door));
  impl.serving = true;
  log->Info("node started", {{"name", config.name},
                             {"version", kVersion},
                             {"unix_socket", node->unix_socket()},
                             {"ucx_address", node->ucx_address()},
                             {"pool_bytes", config.pool_bytes},
                             {"device_bytes", config.device_bytes},
                             {"disk_path", config.disk_path}});
  return node;
}

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() { Stop(); }

void Node::Stop() {
  if (std::exchange(impl_->stopped, true)) return;
  Impl& impl = *impl_;
  if (impl.service == nullptr) return;  // it never got that far
  impl.StopThreads();
  if (impl.loader != nullptr) impl.loader->Stop();
  impl.StopTiers();
  impl.service->Drain(absl::InfiniteDuration());  // payloads on their way out let go of the memory
  if (impl.serving) impl.log->Info("node stopped", {{"name", impl.config.name}});
}

std::string Node::unix_socket() const {
  base::MutexLock lock(&impl_->server_mutex);
  return impl_->server == nullptr ? "" : impl_->server->unix_path();
}

std::string Node::ucx_address() const {
  base::MutexLock lock(&impl_->server_mutex);
  return impl_->server == nullptr ? "" : impl_->server->ucx_address();
}

absl::StatusOr<std::unique_ptr<transport::Link>> Node::Connect(
    const transport::LinkOptions& options) {
  if (impl_->in_process == nullptr)
    return absl::FailedPreconditionError("this node is reached by its socket: transport::Connect");
  return impl_->in_process->Connect(options);
}

}  // namespace cistern::cacheserver
