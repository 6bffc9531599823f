#include "transport/local/in_process.h"

#include <atomic>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "base/mutex.h"
#include "base/status_macros.h"
#include "transport/rpc/client_core.h"
#include "transport/rpc/copy_slices.h"
#include "transport/rpc/lane.h"
#include "transport/rpc/server_core.h"
#include "transport/shm/arena_view.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kMaxLocalBuffer = 1ull << 34;
constexpr std::align_val_t kAlignment{4096};

// The caller's memory for one call. Once the call is over (it has completed, by whatever way), the
// node touches it no more; who copies holds the lock, so a completion waits for a copy that has
// begun.
struct CallMemory {
  base::Mutex mutex;
  bool over ABSL_GUARDED_BY(mutex) = false;
  std::vector<Slice> send;
  std::vector<MutableSlice> receive;
};

// Both ends of one connection.
struct Connection {
  std::shared_ptr<Lane> client_lane;
  std::shared_ptr<Lane> server_lane;
  std::shared_ptr<ClientCore> client;
  std::shared_ptr<SessionCore> session;
};

class LocalChannel final : public CallChannel {
 public:
  LocalChannel(std::shared_ptr<Connection> connection, std::shared_ptr<CallMemory> memory)
      : connection_(std::move(connection)), memory_(std::move(memory)) {}

  uint64_t payload_bytes() const override { return TotalBytes(memory_->send); }

  void ReceivePayload(std::vector<MutableSlice> into, Received done) override {
    if (Copy([&] { CopySlices(memory_->send, into); })) done(absl::OkStatus());
  }

  void SendReply(std::string message, std::vector<Slice> payload, Sent sent) override {
    if (!payload.empty() && !Copy([&] { CopySlices(payload, memory_->receive); })) return;
    sent();
    connection_->client_lane->Post([connection = connection_, message = std::move(message)] {
      const absl::Status read = connection->client->OnReply(std::as_bytes(std::span(message)));
      if (!read.ok()) connection->client->OnDeath(read);
    });
  }

 private:
  // False when the call is over and its memory the caller's again.
  template <typename F>
  bool Copy(F copy) {
    base::MutexLock lock(&memory_->mutex);
    if (memory_->over) return false;
    copy();
    return true;
  }

  const std::shared_ptr<Connection> connection_;
  const std::shared_ptr<CallMemory> memory_;
};

class HeapBuffer final : public Buffer {
 public:
  explicit HeapBuffer(size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(bytes, kAlignment))), bytes_(bytes) {}
  ~HeapBuffer() override { ::operator delete(data_, kAlignment); }
  MutableSlice bytes() override { return {data_, bytes_}; }

 private:
  std::byte* const data_;
  const size_t bytes_;
};

class LocalLink final : public Link {
 public:
  LocalLink(std::shared_ptr<Connection> connection, absl::AnyInvocable<void()> hang_up)
      : connection_(std::move(connection)), hang_up_(std::move(hang_up)) {}
  ~LocalLink() override {
    connection_->client->OnDeath(absl::CancelledError("the link was closed"));
    hang_up_();
    connection_->client_lane->Stop();
  }

  absl::Status Open(const LinkOptions& options, std::shared_ptr<const Mapping> arena) {
    HelloRequest hello;
    hello.client_name = options.client_name;
    hello.want_mapping = options.want_mapping;
    CISTERN_ASSIGN_OR_RETURN(
        node_, CallFor<HelloReply>(*this, hello, {.deadline = options.connect_timeout}));
    if (node_.arena_bytes > 0) arena_ = std::move(arena);
    return absl::OkStatus();
  }

  void Call(Request request, CallOptions options, Completion done) override {
    auto memory = std::make_shared<CallMemory>();
    memory->send = options.send;
    memory->receive = options.receive;
    auto begun = connection_->client->Begin(
        request, std::move(options),
        [memory, done = std::move(done)](absl::StatusOr<Reply> reply) mutable {
          {
            base::MutexLock lock(&memory->mutex);
            memory->over = true;
          }
          done(std::move(reply));
        });
    if (!begun.has_value()) return;
    const uint64_t call_id = begun->call_id;
    const bool posted = connection_->server_lane->Post([connection = connection_,
                                                        message = std::move(begun->message),
                                                        memory = std::move(memory)]() mutable {
      Deliver(connection, message, std::move(memory));
    });
    if (!posted)
      connection_->client->Abandon(call_id, absl::UnavailableError("the node has stopped"));
  }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t bytes) override {
    if (bytes == 0 || bytes > kMaxLocalBuffer) {
      return absl::InvalidArgumentError(
          absl::StrCat("a buffer of ", bytes, " bytes; it must have 1 to ", kMaxLocalBuffer));
    }
    return std::make_unique<HeapBuffer>(bytes);
  }
  const std::byte* arena() const override { return arena_ == nullptr ? nullptr : arena_->data(); }
  const HelloReply& node() const override { return node_; }
  bool alive() const override { return connection_->client->alive(); }

 private:
  // On the server's lane.
  static void Deliver(const std::shared_ptr<Connection>& connection, const std::string& message,
                      std::shared_ptr<CallMemory> memory) {
    if (connection->session->closed()) return;
    const absl::Status status = connection->session->OnMessage(
        std::as_bytes(std::span(message)),
        std::make_unique<LocalChannel>(connection, std::move(memory)));
    if (status.ok()) return;
    connection->session->OnDisconnect();
    // After the reply that says why, which is on its way to the same lane.
    connection->client_lane->Post([connection, status] { connection->client->OnDeath(status); });
  }

  const std::shared_ptr<Connection> connection_;
  absl::AnyInvocable<void()> hang_up_;
  HelloReply node_;                       // fixed once open
  std::shared_ptr<const Mapping> arena_;  // shared with the server: it stays when that is gone
};

class InProcessServerImpl final : public InProcessServer {
 public:
  InProcessServerImpl(const ServerOptions& options, Service* service)
      : core_(std::make_shared<ServerCore>(options, service)), lanes_(options.lanes) {}
  ~InProcessServerImpl() override { Stop(); }

  absl::Status Start() {
    const ServerOptions& options = core_->options();
    if (options.arena_fd >= 0) {
      HelloReply node;
      node.incarnation = options.incarnation;
      node.arena_bytes = options.arena_bytes;
      CISTERN_ASSIGN_OR_RETURN(arena_, MapArena(options.arena_fd, node));
    }
    for (uint32_t i = 0; i < lanes_.size(); ++i) {
      CISTERN_ASSIGN_OR_RETURN(lanes_[i].lane, Lane::Start(absl::StrCat("lane-", i)));
      lanes_[i].connections = std::make_shared<Connections>();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<Link>> Connect(const LinkOptions& options) override;

  std::string unix_path() const override { return ""; }
  std::string ucx_address() const override { return ""; }
  ServerStats stats() const override { return core_->stats(); }

  void Stop() override {
    base::MutexLock lock(&stop_mutex_);
    if (std::exchange(stopped_, true)) return;
    for (LaneState& state : lanes_) {
      if (state.lane == nullptr) continue;  // a start that failed half way
      state.lane->RunAndWait([&] {
        for (auto& [id, connection] : state.connections->by_id) {
          connection->session->OnDisconnect();
          connection->client->OnDeath(absl::UnavailableError("the node has stopped"));
        }
        state.connections->by_id.clear();
        state.connections->door_closed = true;
      });
      state.lane->Stop();
    }
  }

 private:
  struct Connections {
    bool door_closed = false;
    absl::flat_hash_map<SessionId, std::shared_ptr<Connection>> by_id;
  };
  struct LaneState {
    std::shared_ptr<Lane> lane;
    std::shared_ptr<Connections> connections;  // the lane's own
  };

  const std::shared_ptr<ServerCore> core_;
  std::vector<LaneState> lanes_;  // fixed after Start
  // Of the server's own, and every link's: the node unmaps its arena when it goes, and links may
  // outlive it. Fixed after Start.
  std::shared_ptr<const Mapping> arena_;
  std::atomic<uint32_t> next_lane_{0};
  base::Mutex stop_mutex_;
  bool stopped_ ABSL_GUARDED_BY(stop_mutex_) = false;
};

absl::StatusOr<std::unique_ptr<Link>> InProcessServerImpl::Connect(const LinkOptions& options) {
  const uint32_t index = next_lane_.fetch_add(1) % lanes_.size();
  const LaneState home = lanes_[index];
  auto connection = std::make_shared<Connection>();
  CISTERN_ASSIGN_OR_RETURN(connection->client_lane, Lane::Start("cistern-link"));
  connection->client =
      std::make_shared<ClientCore>(connection->client_lane.get(), options.max_in_flight);
  connection->server_lane = home.lane;
  bool open = false;
  home.lane->RunAndWait([&] {
    open = !home.connections->door_closed;
    if (open) {
      connection->session = core_->NewSession(index, "in process", arena_ != nullptr);
    }
    if (connection->session != nullptr) {
      home.connections->by_id[connection->session->id()] = connection;
    }
  });
  if (!open) return absl::UnavailableError("the node has stopped");
  if (connection->session == nullptr) {
    return absl::ResourceExhaustedError("the node has too many connections");
  }

  auto hang_up = [home, connection] {
    home.lane->Post([home, connection] {
      connection->session->OnDisconnect();
      home.connections->by_id.erase(connection->session->id());
    });
  };
  auto link = std::make_unique<LocalLink>(connection, std::move(hang_up));
  CISTERN_RETURN_IF_ERROR(link->Open(options, arena_));
  return link;
}

}  // namespace

absl::StatusOr<std::unique_ptr<InProcessServer>> StartInProcess(const ServerOptions& options,
                                                                Service* service) {
  if (options.lanes == 0 || options.lanes > kMaxLanes) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.lanes, " lanes; a server has 1 to ", kMaxLanes));
  }
  auto server = std::make_unique<InProcessServerImpl>(options, service);
  CISTERN_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace cistern::transport
