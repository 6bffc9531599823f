// A FakeNode behind a real server on a unix socket, for what only a real link does: connect, die,
// reconnect, check what it carries. Bytes go by copy.
//
// Thread   one; the server has its own
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "tests/unit/client_lib/fake_node.h"
#include "transport/service.h"

namespace cistern::testing {

class ServedNode final : public transport::Service {
 public:
  ServedNode(std::shared_ptr<FakeNode> node, std::string unix_path);
  ~ServedNode() override { Stop(); }

  // Listens; the test fails when that fails.
  void Start();
  // Closes the door and every session. Again: nothing.
  void Stop();

  // What is sent from now on is not what its checksum says.
  void DamagePayloads() { damage_ = true; }

  std::string address() const { return "unix:" + unix_path_; }

  void OnOpen(transport::SessionId, const transport::SessionInfo&) override {}
  void OnCall(std::unique_ptr<transport::ServerCall> call) override;
  void OnClose(transport::SessionId) override {}

 private:
  void Read(std::unique_ptr<transport::ServerCall> call);
  void Write(std::unique_ptr<transport::ServerCall> call);

  const std::shared_ptr<FakeNode> node_;
  const std::string unix_path_;
  std::atomic<bool> damage_{false};
  std::unique_ptr<transport::Server> server_;
};

}  // namespace cistern::testing
