// The contract over the carriers of one host: a unix socket, and within the process.
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "tests/unit/transport/link_contract.h"
#include "tests/unit/transport/test_socket.h"
#include "transport/local/in_process.h"

namespace cistern::transport {
namespace {

class UnixNode final : public TestNode {
 public:
  UnixNode(ServerOptions options, Service* service) {
    options.unix_path = path_.path();
    auto server = StartServer(options, service);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  Server& server() override { return *server_; }
  absl::StatusOr<std::unique_ptr<Link>> Connect(const LinkOptions& options) override {
    return transport::Connect(absl::StrCat("unix:", path_.path()), options);
  }

 private:
  SocketPath path_;
  std::unique_ptr<Server> server_;
};

class LocalNode final : public TestNode {
 public:
  LocalNode(const ServerOptions& options, Service* service)
      : server_(std::move(StartInProcess(options, service)).value()) {}
  Server& server() override { return *server_; }
  absl::StatusOr<std::unique_ptr<Link>> Connect(const LinkOptions& options) override {
    return server_->Connect(options);
  }

 private:
  std::unique_ptr<InProcessServer> server_;
};

template <typename Node>
Carrier Make(std::string name) {
  return {std::move(name), [](ServerOptions options, Service* service) {
            return std::make_unique<Node>(std::move(options), service);
          }};
}

INSTANTIATE_TEST_SUITE_P(OneHost, LinkContract,
                         testing::Values(Make<UnixNode>("Unix"), Make<LocalNode>("InProcess")),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cistern::transport
