// Peers of a UCX node that were never ours, and a node for them.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/integration/ucx_test_service.h"
#include "transport/link.h"
#include "transport/rpc/lane.h"
#include "transport/service.h"
#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_connection.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_door.h"
#include "transport/ucx/ucx_worker.h"
#include "transport/wire/codec.h"

namespace cistern::transport {

class StrangerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = StartServer(
        {.ucx_address = "127.0.0.1:0", .hello_timeout = absl::Milliseconds(300)}, &service_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void RestartWith(absl::Duration transfer_timeout) {
    server_.reset();
    auto server = StartServer({.ucx_address = "127.0.0.1:0", .transfer_timeout = transfer_timeout},
                              &service_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void ExpectServing() {
    auto link = Connect(server_->ucx_address(), {});
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_TRUE(CallFor<AdminReply>(**link, AdminRequest{.model_name = "ping"}).ok());
  }

  UcxTestService service_;
  std::unique_ptr<Server> server_;
};

// A UCX peer that sends what it likes.
class RoguePeer {
 public:
  explicit RoguePeer(const std::string& address) : events_(std::make_shared<Events>()) {
    admission_ = *KnockAt(ResolveHostPort(address, false)->front(), absl::Now() + absl::Seconds(5));
    lane_ = *Lane::Start("rogue");
    lane_->RunAndWait([&] {
      worker_ = *UcxWorker::Create(*UcxContext::Create(AF_INET), lane_.get());
      connection_ = *worker_->Connect(admission_.address, events_);
    });
  }
  ~RoguePeer() {
    lane_->RunAndWait([&] {
      worker_->CloseAll(absl::CancelledError("done"), false, absl::Seconds(5));
      worker_.reset();
    });
  }

  void Send(std::string message, std::vector<Slice> payload = {}) {
    connection_->Send(std::move(message), std::move(payload), Sent());
  }
  void SayHello() {
    Send(EncodeRequest({.call_id = 1, .deadline = absl::Seconds(5)}, HelloRequest{}));
    EXPECT_TRUE(Await([&] { return messages() >= 1; }));
  }
  int messages() const { return events_->messages; }
  bool closed() const { return events_->closed; }

 private:
  struct Events final : UcxEvents {
    void OnMessage(std::span<const std::byte>, UcxPayload) override { ++messages; }
    void OnBadFrame(const absl::Status&) override {}
    void OnClosed(const absl::Status&) override { closed = true; }
    std::atomic<int> messages{0};
    std::atomic<bool> closed{false};
  };

  std::shared_ptr<Events> events_;
  Admission admission_;
  std::unique_ptr<Lane> lane_;
  std::unique_ptr<UcxWorker> worker_;
  std::shared_ptr<UcxConnection> connection_;
};

// Sends single frames, not whole messages.
class RawUcxPeer {
 public:
  explicit RawUcxPeer(const std::string& address) {
    admission_ = *KnockAt(ResolveHostPort(address, false)->front(), absl::Now() + absl::Seconds(5));
    lane_ = *Lane::Start("raw");
    lane_->RunAndWait([&] {
      worker_ = *UcxWorker::Create(*UcxContext::Create(AF_INET), lane_.get());
      ucp_ep_params_t params = {};
      params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR |
                          UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
      params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
      params.sockaddr.addr = admission_.address.get();
      params.sockaddr.addrlen = admission_.address.bytes;
      params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
      params.err_handler.cb = [](void*, ucp_ep_h, ucs_status_t) {};
      EXPECT_EQ(ucp_ep_create(worker_->handle(), &params, &endpoint_), UCS_OK);
    });
    const std::string hello =
        EncodeRequest({.call_id = 1, .deadline = absl::Seconds(5)}, HelloRequest{});
    Send(UcxFrameKind::kCall, hello, {});
  }
  ~RawUcxPeer() {
    lane_->RunAndWait([&] {
      ucp_request_param_t param = {};
      param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
      param.flags = UCP_EP_CLOSE_FLAG_FORCE;
      const ucs_status_ptr_t closing = ucp_ep_close_nbx(endpoint_, &param);
      if (UCS_PTR_IS_PTR(closing)) ucp_request_free(closing);
      for (int i = 0; i < 1000; ++i) worker_->Progress();
      worker_.reset();
    });
  }

  // `data` must stay until the end.
  void Send(UcxFrameKind kind, const std::string& header, const std::string& data) {
    lane_->RunAndWait([&] {
      headers_.push_back(header);
      ucp_request_param_t param = {};
      param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
      param.flags = UCP_AM_SEND_FLAG_REPLY | UCP_AM_SEND_FLAG_EAGER;
      const ucs_status_ptr_t sending =
          ucp_am_send_nbx(endpoint_, static_cast<unsigned>(kind), headers_.back().data(),
                          header.size(), data.data(), data.size(), &param);
      if (UCS_PTR_IS_PTR(sending)) ucp_request_free(sending);
    });
  }

 private:
  Admission admission_;
  std::unique_ptr<Lane> lane_;
  std::unique_ptr<UcxWorker> worker_;
  ucp_ep_h endpoint_ = nullptr;
  std::deque<std::string> headers_;
};

// A call that announces `bytes` of payload.
inline std::string WriteOf(uint64_t bytes) {
  return EncodeRequest({.call_id = 2, .deadline = absl::Seconds(30), .send_bytes = bytes},
                       WriteRequest{.reservations = {bytes, 0, 1}});
}

}  // namespace cistern::transport
