// The other side of a UCX connection is killed or stopped.
#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/integration/ucx_test_process.h"
#include "tests/integration/ucx_test_service.h"
#include "transport/link.h"
#include "transport/service.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kBytes = 64ull << 20;

// How a call ended, and when.
struct Outcome {
  std::atomic<int> runs{0};
  absl::Status status;
  absl::Time when;

  Completion Take() {
    return [this](absl::StatusOr<Reply> reply) {
      status = reply.status();
      when = absl::Now();
      ++runs;
    };
  }
};

// ---- The node dies or stops

class NodeFailureTest : public ::testing::Test {
 protected:
  void SetUp() override {
    node_ = std::make_unique<TestProcess>(std::vector<std::string>{UCX_TEST_PEER, "serve"});
    address_ = node_->ReadLine();
    ASSERT_FALSE(address_.empty());
    auto link = Connect(address_, {});
    ASSERT_TRUE(link.ok()) << link.status();
    link_ = *std::move(link);
    auto buffer = link_->Allocate(kBytes);
    ASSERT_TRUE(buffer.ok());
    buffer_ = *std::move(buffer);
    memcpy(buffer_->bytes().data(), PatternPieces(kBytes, 0, 1)[0].data(), kBytes);
  }

  // Keeps `depth` big transfers going, so that whatever happens finds one under way.
  void KeepMoving(bool push, absl::Duration deadline) {
    CallOptions options;
    options.deadline = deadline;
    Request request;
    if (push) {
      options.send = {buffer_->bytes()};
      request = WriteRequest{.reservations = {kBytes, 0, 1}};
    } else {
      options.receive = {buffer_->bytes()};
      request = ReadRequest{.leases = {kBytes, 0, 1}};
    }
    link_->Call(request, options, [this, push, deadline](absl::StatusOr<Reply> reply) {
      if (reply.ok()) {
        ++moved_;
        KeepMoving(push, deadline);
        return;
      }
      moving_.Take()(std::move(reply));
    });
  }

  std::unique_ptr<TestProcess> node_;
  std::string address_;
  std::unique_ptr<Buffer> buffer_;
  std::atomic<int> moved_{0};
  Outcome moving_;
  std::unique_ptr<Link> link_;  // gone before what its completions touch
};

class NodeFailureBothWaysTest : public NodeFailureTest,
                                public ::testing::WithParamInterface<bool> {};

TEST_P(NodeFailureBothWaysTest, KilledNodeFailsEverythingSoon) {
  Outcome waiting;
  link_->Call(AdminRequest{.model_name = "silent"}, {.deadline = absl::Seconds(60)},
              waiting.Take());
  KeepMoving(GetParam(), absl::Seconds(60));
  ASSERT_TRUE(Await([&] { return moved_ >= 2; }));
  const absl::Time killed = absl::Now();
  node_->Signal(SIGKILL);
  ASSERT_TRUE(Await([&] { return moving_.runs == 1 && waiting.runs == 1; }));
  EXPECT_TRUE(absl::IsUnavailable(moving_.status)) << moving_.status;
  EXPECT_TRUE(absl::IsUnavailable(waiting.status)) << waiting.status;
  RecordProperty("moving_us", static_cast<int>((moving_.when - killed) / absl::Microseconds(1)));
  RecordProperty("waiting_us", static_cast<int>((waiting.when - killed) / absl::Microseconds(1)));
  EXPECT_LT(moving_.when - killed, absl::Seconds(5));
  EXPECT_LT(waiting.when - killed, absl::Seconds(5));
  EXPECT_FALSE(link_->alive());
  auto after = CallFor<AdminReply>(*link_, AdminRequest{.model_name = "ping"});
  EXPECT_TRUE(absl::IsUnavailable(after.status())) << after.status();
}

TEST_P(NodeFailureBothWaysTest, StoppedNodeCostsOneDeadline) {
  KeepMoving(GetParam(), absl::Milliseconds(1500));
  ASSERT_TRUE(Await([&] { return moved_ >= 2; }));
  node_->Signal(SIGSTOP);
  const absl::Time stopped = absl::Now();
  Outcome waiting;
  link_->Call(AdminRequest{.model_name = "ping"}, {.deadline = absl::Milliseconds(300)},
              waiting.Take());
  ASSERT_TRUE(Await([&] { return moving_.runs == 1 && waiting.runs == 1; }));
  EXPECT_TRUE(absl::IsDeadlineExceeded(waiting.status)) << waiting.status;
  EXPECT_LT(waiting.when - stopped, absl::Milliseconds(1300));
  EXPECT_TRUE(absl::IsDeadlineExceeded(moving_.status)) << moving_.status;
  EXPECT_LT(moving_.when - stopped, absl::Milliseconds(1500 + 1000));
  EXPECT_TRUE(link_->alive()) << "what moved was taken back";
  link_.reset();  // does not wait for the stopped node either
  EXPECT_LT(absl::Now() - stopped, absl::Seconds(8));
  node_->Signal(SIGCONT);
}

INSTANTIATE_TEST_SUITE_P(Directions, NodeFailureBothWaysTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Push" : "Pull"; });

// Payloads that were cut off in the middle, in both directions, harm nothing that comes after them.
TEST_P(NodeFailureBothWaysTest, ANodeThatGoesOnMovesTheNextPayload) {
  KeepMoving(GetParam(), absl::Seconds(1));
  ASSERT_TRUE(Await([&] { return moved_ >= 2; }));
  node_->Signal(SIGSTOP);
  ASSERT_TRUE(Await([&] { return moving_.runs == 1; }));
  EXPECT_TRUE(absl::IsDeadlineExceeded(moving_.status)) << moving_.status;
  node_->Signal(SIGCONT);
  ASSERT_TRUE(link_->alive());
  memset(buffer_->bytes().data(), 0, kBytes);
  auto read = CallFor<ReadReply>(*link_, ReadRequest{.leases = {kBytes, 0, 1}},
                                 {.deadline = absl::Seconds(20), .receive = {buffer_->bytes()}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(memcmp(buffer_->bytes().data(), PatternPieces(kBytes, 0, 1)[0].data(), kBytes), 0);
  auto written = CallFor<WriteReply>(*link_, WriteRequest{.reservations = {kBytes, 0, 1}},
                                     {.deadline = absl::Seconds(20), .send = {buffer_->bytes()}});
  EXPECT_TRUE(written.ok()) << written.status();
}

TEST_F(NodeFailureTest, StoppedNodeThatGoesOnAnswersTheNextCall) {
  node_->Signal(SIGSTOP);
  auto reply = CallFor<AdminReply>(*link_, AdminRequest{.model_name = "ping"},
                                   {.deadline = absl::Milliseconds(100)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status()));
  node_->Signal(SIGCONT);
  EXPECT_TRUE(CallFor<AdminReply>(*link_, AdminRequest{.model_name = "ping"},
                                  {.deadline = absl::Seconds(20)})
                  .ok());
}

// ---- The worker dies or stops

class WorkerFailureTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto server = StartServer({.ucx_address = "127.0.0.1:0"}, &service_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    worker_ = std::make_unique<TestProcess>(
        std::vector<std::string>{UCX_TEST_PEER, GetParam(), server_->ucx_address()});
    ASSERT_EQ(worker_->ReadLine(), "ready");
    ASSERT_TRUE(Await([&] { return service_.receives_ok() + service_.sent() >= 2; }));
  }

  // Nothing of the worker's session is left under way.
  bool AllEnded() const {
    return service_.closed() == 1 && service_.sent() == service_.replies() &&
           service_.receives_ok() + service_.receives_failed() == service_.receives_begun();
  }

  UcxTestService service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<TestProcess> worker_;
};

TEST_P(WorkerFailureTest, KilledWorkerIsClosedOnceAndItsPayloadsEnd) {
  const absl::Time killed = absl::Now();
  worker_->KillAndReap();
  ASSERT_TRUE(Await([&] { return AllEnded(); }));
  EXPECT_LT(absl::Now() - killed, absl::Seconds(5));
  EXPECT_EQ(server_->stats().sessions_open, 0u);
  auto link = Connect(server_->ucx_address(), {});
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(CallFor<AdminReply>(**link, AdminRequest{.model_name = "ping"}).ok());
}

TEST_P(WorkerFailureTest, StoppedWorkerDoesNotHoldUpTheNode) {
  worker_->Signal(SIGSTOP);
  auto link = Connect(server_->ucx_address(), {});
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(CallFor<AdminReply>(**link, AdminRequest{.model_name = "ping"}).ok());
  const absl::Time start = absl::Now();
  server_->Stop();
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  EXPECT_EQ(service_.closed(), 2u);
  EXPECT_EQ(service_.sent(), service_.replies());
}

INSTANTIATE_TEST_SUITE_P(Directions, WorkerFailureTest, ::testing::Values("push", "pull"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace cistern::transport
