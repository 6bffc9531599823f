#include "transport/ucx/ucx_link.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "transport/rpc/client_core.h"
#include "transport/rpc/lane.h"
#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_buffers.h"
#include "transport/ucx/ucx_call_table.h"
#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_door.h"
#include "transport/ucx/ucx_worker.h"

namespace cistern::transport {
namespace {

constexpr absl::Duration kLinkClosePatience = absl::Seconds(5);

class UcxLink final : public Link {
 public:
  UcxLink(std::unique_ptr<Lane> lane, std::shared_ptr<UcxContext> context, uint32_t max_in_flight)
      : lane_(std::move(lane)),
        context_(std::move(context)),
        buffers_(std::make_shared<UcxBufferPool>(context_)),
        core_(std::make_shared<ClientCore>(lane_.get(), max_in_flight)),
        table_(std::make_shared<UcxCallTable>(lane_.get(), core_)) {}

  ~UcxLink() override {
    lane_->RunAndWait([this] {
      tether_.reset();
      if (worker_ == nullptr) return;
      worker_->CloseAll(absl::CancelledError("the link was closed"), false, kLinkClosePatience);
      worker_.reset();
      connection_.reset();
    });
    core_->OnDeath(absl::CancelledError("the link was closed"));
    lane_->Stop();
  }

  absl::Status Open(Admission admission, const LinkOptions& options, absl::Duration patience) {
    absl::Status status = absl::CancelledError("the link's lane has ended");
    lane_->RunAndWait([&] { status = OpenOnLane(std::move(admission)); });
    if (!status.ok()) return status;
    HelloRequest hello;
    hello.client_name = options.client_name;
    hello.want_mapping = false;
    absl::StatusOr<HelloReply> node = CallFor<HelloReply>(*this, hello, {.deadline = patience});
    if (!node.ok()) return node.status();
    node_ = *std::move(node);
    return absl::OkStatus();
  }

  void Call(Request request, CallOptions options, Completion done) override {
    std::vector<Slice> send = options.send;
    std::optional<ClientCore::Begun> begun =
        core_->Begin(request, std::move(options), std::move(done));
    if (!begun.has_value()) return;
    const uint64_t call_id = begun->call_id;
    auto start = [table = table_, connection = connection_, begun = *std::move(begun),
                  send = std::move(send)]() mutable {
      table->Start(*connection, begun.call_id, std::move(begun.message), std::move(send));
    };
    if (lane_->OnLaneThread()) {
      start();
    } else if (!lane_->TryRun([&] { start(); }) && !lane_->Post(std::move(start))) {
      core_->Abandon(call_id, absl::ResourceExhaustedError("the link's lane is full"));
    }
  }

  void Attend(absl::FunctionRef<bool()> done, absl::Duration longest) override {
    lane_->Attend(done, After(MonoNow(), longest));
  }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t bytes) override {
    return buffers_->Allocate(bytes);
  }
  const std::byte* arena() const override { return nullptr; }
  bool checks(uint64_t payload_bytes) const override {
    return connection_->InPieces(payload_bytes);
  }
  const HelloReply& node() const override { return node_; }
  bool alive() const override { return core_->alive() && connection_->open(); }

 private:
  absl::Status OpenOnLane(Admission admission) {
    CISTERN_ASSIGN_OR_RETURN(worker_, UcxWorker::Create(context_, lane_.get()));
    CISTERN_ASSIGN_OR_RETURN(connection_, worker_->Connect(admission.address, table_));
    table_->Use(connection_);
    tether_ = std::make_unique<Tether>(
        lane_.get(), std::move(admission.tether), [connection = connection_] {
          connection->Close(absl::UnavailableError("the node is gone"));
        });
    return absl::OkStatus();
  }

  const std::unique_ptr<Lane> lane_;
  const std::shared_ptr<UcxContext> context_;
  const std::shared_ptr<UcxBufferPool> buffers_;
  const std::shared_ptr<ClientCore> core_;
  const std::shared_ptr<UcxCallTable> table_;
  std::unique_ptr<UcxWorker> worker_;  // the lane's
  std::shared_ptr<UcxConnection> connection_;
  std::unique_ptr<Tether> tether_;  // the lane's
  HelloReply node_;
};

absl::StatusOr<std::unique_ptr<Link>> Open(const SocketAddress& address, const LinkOptions& options,
                                           absl::Time until) {
  CISTERN_ASSIGN_OR_RETURN(Admission admission, KnockAt(address, until));
  CISTERN_ASSIGN_OR_RETURN(auto context, UcxContext::Create(address.storage.ss_family));
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<Lane> lane, Lane::Start("ucx-link"));
  auto link = std::make_unique<UcxLink>(std::move(lane), context, options.max_in_flight);
  CISTERN_RETURN_IF_ERROR(link->Open(std::move(admission), options, until - absl::Now()));
  return link;
}

// Who does not answer is not there; what is wrong says where.
absl::Status AsConnectError(const absl::Status& status, const SocketAddress& address) {
  const std::string where = FormatSocketAddress(address.storage);
  if (absl::IsDeadlineExceeded(status)) {
    return absl::UnavailableError(absl::StrCat("the node at ", where, " does not answer in time"));
  }
  return absl::Status(status.code(), absl::StrCat("connecting to ", where, ": ", status.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> ConnectUcx(absl::string_view host_port,
                                                 const LinkOptions& options) {
  const absl::Time until = absl::Now() + options.connect_timeout;
  CISTERN_ASSIGN_OR_RETURN(auto addresses, ResolveHostPort(host_port, false));
  absl::StatusOr<std::unique_ptr<Link>> link = absl::UnavailableError("no address");
  for (size_t i = 0; i < addresses.size(); ++i) {
    const absl::Duration left = until - absl::Now();
    if (i > 0 && left <= absl::ZeroDuration()) break;
    // Each address gets its share, so that a silent one leaves time for the next.
    const absl::Duration share = left / static_cast<int64_t>(addresses.size() - i);
    link = Open(addresses[i], options, absl::Now() + share);
    if (link.ok()) return link;
    link = AsConnectError(link.status(), addresses[i]);
    if (!absl::IsUnavailable(link.status())) break;
  }
  return link;
}

}  // namespace cistern::transport
