#include "tests/unit/client_lib/served_node.h"

#include <utility>
#include <variant>
#include <vector>

#include "gtest/gtest.h"

#include "transport/checksum.h"

namespace cistern::testing {

using transport::ServerCall;

ServedNode::ServedNode(std::shared_ptr<FakeNode> node, std::string unix_path)
    : node_(std::move(node)), unix_path_(std::move(unix_path)) {}

void ServedNode::Start() {
  transport::ServerOptions options;
  options.unix_path = unix_path_;
  options.lanes = 1;
  options.node_name = node_->hello().node_name;
  options.incarnation = node_->hello().incarnation;
  auto server = transport::StartServer(options, this);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
}

void ServedNode::Stop() { server_.reset(); }

void ServedNode::OnCall(std::unique_ptr<ServerCall> call) {
  if (std::holds_alternative<transport::ReadRequest>(call->request())) {
    Read(std::move(call));
  } else if (call->payload_bytes() > 0) {
    Write(std::move(call));
  } else {
    call->Reply(node_->Serve(call->request(), {}));
  }
}

void ServedNode::Read(std::unique_ptr<ServerCall> call) {
  const auto& request = std::get<transport::ReadRequest>(call->request());
  auto payload = std::make_shared<std::vector<std::byte>>(node_->ReadBytes(request));
  transport::CallOptions options;
  options.receive = {*payload};
  transport::Reply reply = node_->Serve(call->request(), options);
  const std::vector<transport::Slice> slices = {*payload};
  if (auto* read = std::get_if<transport::ReadReply>(&reply)) {
    read->checksum = transport::PayloadChecksum(slices);
    if (damage_) payload->back() ^= std::byte{1};
    call->Reply(std::move(reply), slices, [payload] {});
  } else {
    call->Reply(std::move(reply));
  }
}

void ServedNode::Write(std::unique_ptr<ServerCall> call) {
  auto payload = std::make_shared<std::vector<std::byte>>(call->payload_bytes());
  ServerCall* const receiving = call.get();
  receiving->ReceivePayload(
      {*payload}, [this, payload, call = std::move(call)](const absl::Status& received) mutable {
        transport::CallOptions options;
        options.send = {*payload};
        if (received.ok()) {
          call->Reply(node_->Serve(call->request(), options));
        } else {
          call->Fail(received);
        }
      });
}

}  // namespace cistern::testing
