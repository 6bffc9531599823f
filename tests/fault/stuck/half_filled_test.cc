// Workers that go ahead of their rows and then stop: killed, stopped or silent in the middle of a
// payload that the node follows.
#include <atomic>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "base/object.h"
#include "tests/fault/stuck/crowd.h"
#include "tests/fault/stuck/stuck_node.h"
#include "transport/link.h"

namespace cistern::stuck {
namespace {

using cacheserver::Await;
using transport::ReserveReply;
using transport::ReserveRequest;

constexpr uint64_t kBytes = 4 << 20;

class HalfFilled : public testing::Test {
 protected:
  // A link to the node, and a call on it of which half the payload is there.
  struct Half {
    std::unique_ptr<transport::Link> link;
    std::unique_ptr<transport::Buffer> buffer;
    std::unique_ptr<transport::PayloadFill> fill;
  };
  static Half Start(const std::string& address, uint64_t key, absl::Duration deadline,
                    transport::Completion done) {
    Half half;
    half.link = *transport::Connect(address, {.client_name = "half filled"});
    half.buffer = *half.link->Allocate(kBytes);
    std::memset(half.buffer->bytes().data(), 7, kBytes);
    base::ObjectHeader header;
    header.kind = base::ObjectKind::kBlob;
    header.content = {key, key};
    header.blob_bytes = kBytes;
    ReserveRequest request{.headers = {header}, .payload_headers = 1, .layer_end = 1};
    request.commit = true;
    half.fill = half.link->CallAhead(
        request, {.deadline = deadline, .send = {half.buffer->bytes()}}, std::move(done));
    half.fill->Filled(kBytes / 2);
    return half;
  }
  void AwaitReservations(uint64_t count) {
    Await("reservations", [&] { return node_.node().Status().at("reservations") == count; });
  }

  StuckNode node_;
};

// As many as the node has lanes, and more: none of them is held.
TEST_F(HalfFilled, SilentOnesHoldNobodyUp) {
  Crowd others(node_.options(Carrier::kMapped), {}, 1, 4);
  constexpr uint64_t kSilent = 8;
  std::vector<Half> silent;
  std::vector<absl::Status> ends(kSilent, absl::UnknownError("none"));
  std::atomic<uint64_t> ended{0};
  for (uint64_t i = 0; i < kSilent; ++i) {
    silent.push_back(Start(node_.node().unix_address(), i + 1, absl::Seconds(3),
                           [&, i](const absl::StatusOr<transport::Reply>& reply) {
                             ends[i] = reply.status();
                             ++ended;
                           }));
  }
  others.AwaitGoodTurns("beside silent writers");
  EXPECT_EQ(ended, 0u);
  silent.front().fill->Filled(kBytes);  // one comes back
  Await("one that is complete", [&] { return ended == 1u; });
  EXPECT_TRUE(ends.front().ok()) << ends.front();
  Await("the deadlines", [&] { return ended == kSilent; });
  for (uint64_t i = 1; i < kSilent; ++i) EXPECT_TRUE(absl::IsDeadlineExceeded(ends[i])) << ends[i];
  AwaitReservations(0);
  silent.clear();
  EXPECT_EQ(others.Stop().wrong_rows, 0u);
  node_.ExpectNothingHeld();
}

TEST_F(HalfFilled, OneThatIsKilledOrStoppedLeavesNothing) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
      const Half half = Start(node_.node().unix_address(), 100, absl::Seconds(2),
                              [](const absl::StatusOr<transport::Reply>&) {});
      if (write(ready[1], "x", 1) != 1) _exit(1);
      pause();
      _exit(0);
    }
    char byte;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    AwaitReservations(1);
    kill(child, signal);
    Crowd others(node_.options(Carrier::kMapped), {}, 1, 4);
    others.AwaitGoodTurns("beside a writer in trouble");
    AwaitReservations(0);  // killed: at once; stopped: by its call's deadline
    EXPECT_EQ(others.Stop().wrong_rows, 0u);
    kill(child, SIGKILL);
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
    close(ready[0]);
    close(ready[1]);
    node_.ExpectNothingHeld();
  }
}

}  // namespace
}  // namespace cistern::stuck
