// Nodes and workers that are killed, stopped and flooded while others work: calls come back, what
// they bring is right, the next ones succeed as soon as the node does, and nothing stays held.
#include <csignal>
#include <iostream>
#include <numeric>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/un.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/fault/stuck/crowd.h"
#include "tests/fault/stuck/stuck_node.h"
#include "tools/bench/worker_cache.h"
#include "transport/link.h"

namespace cistern::stuck {
namespace {

using cacheserver::Await;
using cacheserver::Process;

constexpr uint32_t kWorkers = 3;

// Machines of a few shared cores let a thread wait for its turn; what is printed tells how late
// calls really were.
constexpr absl::Duration kLate = absl::Seconds(1);

void ExpectRight(const Tally& tally) {
  std::cout << tally.ToString() << "\n";
  EXPECT_EQ(tally.wrong_rows, 0u);
  EXPECT_LT(tally.latest, kLate);
  EXPECT_GT(tally.reused, 0u);
}

class NeverStuck : public testing::TestWithParam<Carrier> {
 protected:
  uint64_t ObjectsInMemory() { return node_.node().Status().at("memory").at("objects"); }

  StuckNode node_;
};
INSTANTIATE_TEST_SUITE_P(Over, NeverStuck,
                         testing::Values(Carrier::kMapped, Carrier::kCopied, Carrier::kTcp),
                         CarrierName);

TEST_P(NeverStuck, ANodeThatIsKilledAndComesBack) {
  Crowd crowd(node_.options(GetParam()), {}, kWorkers, 1);
  for (int i = 0; i < 3; ++i) {
    crowd.AwaitGoodTurns("from a sound node");
    absl::SleepFor(absl::Milliseconds(20 * i));
    node_.node().Stop(SIGKILL);
    crowd.AwaitTrouble("after the node's death");
    node_.node().Start();
  }
  crowd.AwaitGoodTurns("from the last node");
  ExpectRight(crowd.Stop());
  node_.ExpectNothingHeld();
}

TEST_P(NeverStuck, ANodeThatIsStoppedAndGoesOn) {
  Crowd crowd(node_.options(GetParam()), {}, kWorkers, 2);
  for (int i = 0; i < 3; ++i) {
    crowd.AwaitGoodTurns("from a node that runs");
    absl::SleepFor(absl::Milliseconds(15 * i));
    node_.Freeze();
    crowd.AwaitTrouble("from a stopped node");
    absl::SleepFor(absl::Milliseconds(300));
    node_.Thaw();
  }
  crowd.AwaitGoodTurns("after the last stop");
  ExpectRight(crowd.Stop());
  node_.ExpectNothingHeld();
}

TEST_P(NeverStuck, WorkersThatAreKilledAtWork) {
  Crowd others(node_.options(GetParam()), {}, 1, 3);
  for (int i = 0; i < 6; ++i) {
    Process worker({STUCK_WORKER, node_.address(GetParam()), std::to_string(i)},
                   node_.node().Path("worker" + std::to_string(i)));
    Await("the worker's first turn", [&] { return !worker.Out().empty() || !worker.Running(); });
    ASSERT_TRUE(worker.Running()) << worker.Err();
    absl::SleepFor(absl::Milliseconds(7 * i));
    worker.Signal(SIGKILL);
    others.AwaitGoodTurns("beside a killed worker");
  }
  const Tally tally = others.Stop();
  ExpectRight(tally);
  EXPECT_TRUE(tally.troubles.empty());
  node_.ExpectNothingHeld();
}

TEST_P(NeverStuck, AWorkerThatIsStoppedAtWork) {
  Crowd others(node_.options(GetParam()), {}, 1, 4);
  Process worker({STUCK_WORKER, node_.address(GetParam()), "7"}, node_.node().Path("worker"));
  for (int i = 0; i < 5; ++i) {
    const size_t before = worker.Out().size();
    Await("a turn of the worker", [&] { return worker.Out().size() > before; });
    absl::SleepFor(absl::Milliseconds(5 * i));
    worker.Signal(SIGSTOP);
    others.AwaitGoodTurns("beside a stopped worker");
    worker.Signal(SIGCONT);
  }
  const size_t before = worker.Out().size();
  Await("a turn of the worker that goes on", [&] { return worker.Out().size() > before; });
  EXPECT_TRUE(worker.Running()) << "wrong rows, if its exit code is 3";
  worker.Signal(SIGKILL);
  const Tally tally = others.Stop();
  ExpectRight(tally);
  EXPECT_TRUE(tally.troubles.empty());
  node_.ExpectNothingHeld();
}

// Both publish the same prompt at the same moment; later both read it.
TEST_P(NeverStuck, TwoPublishOneKeyAtOnce) {
  const Deadlines patient{absl::Seconds(10), absl::Seconds(10), absl::Seconds(10)};
  uint64_t published = 0;
  for (uint32_t round = 0; round < 10; ++round) {
    const std::vector<uint32_t> texts = {100 + round, 200 + round};
    std::vector<Turn> turns(2);
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        auto client = Client::Connect(node_.options(GetParam(), patient));
        ASSERT_TRUE(client.ok()) << client.status();
        turns[i] = TurnWorker(i, patient).Run(**client, texts);
      });
    }
    for (std::thread& thread : threads) thread.join();
    auto reader = Client::Connect(node_.options(GetParam(), patient));
    ASSERT_TRUE(reader.ok()) << reader.status();
    turns.push_back(TurnWorker(3, patient).Run(**reader, texts));
    EXPECT_EQ(turns.back().reused, 399u) << "all but the last token";
    for (const Turn& turn : turns) {
      EXPECT_EQ(turn.trouble, absl::OkStatus());
      EXPECT_EQ(turn.wrong_rows, 0u);
      EXPECT_EQ(turn.dropped, 0u);
      published += turn.segments;
    }
  }
  EXPECT_EQ(published, ObjectsInMemory()) << "each was committed by one of them";
  node_.ExpectNothingHeld();
}

// A publish that goes through less memory than it has rows, and of which the node takes none.
TEST_P(NeverStuck, WhatIsStoredAlreadyIsSaidAtOnce) {
  base::ModelSpec model = TurnModel();
  model.num_layers = 27;
  constexpr uint32_t kTokens = 200;  // 6 MiB
  std::vector<base::TokenId> tokens(kTokens);
  std::iota(tokens.begin(), tokens.end(), 1);
  tools::WorkerCache rows(model, kTokens);
  rows.Begin(tokens);
  rows.Compute({0, kTokens});
  const absl::Duration patient = absl::Seconds(10);  // who is stuck fails by it
  auto client = Client::Connect(node_.options(GetParam(), {patient, patient, patient}));
  ASSERT_TRUE(client.ok()) << client.status();
  uint64_t stored = 0;
  for (int i = 0; i < 3; ++i) {
    const auto report =
        (*client)->Publish(model, tokens, {}, {0, kTokens}, rows.Source(/*pre_rope=*/true));
    ASSERT_TRUE(report.ok()) << report.status();
    if (i == 0) stored = report->segments;
    EXPECT_EQ(report->segments_had, i == 0 ? 0 : stored);
    EXPECT_EQ(report->segments_dropped, 0u);
  }
  EXPECT_GT(stored, 0u);
  client->reset();
  node_.ExpectNothingHeld();
}

// More calls than a link takes, to a node that does not answer for a while: the rest is refused at
// once, and no other is lost.
TEST_P(NeverStuck, MoreInFlightThanAnyQueueHolds) {
  constexpr int kLinks = 4, kCalls = 3000, kInFlight = 1024;
  std::vector<std::unique_ptr<transport::Link>> links;
  std::atomic<int> answered{0}, refused{0}, other{0};
  for (int i = 0; i < kLinks; ++i) {
    auto link = transport::Connect(
        node_.address(GetParam()),
        {.want_mapping = GetParam() == Carrier::kMapped, .max_in_flight = kInFlight});
    ASSERT_TRUE(link.ok()) << link.status();
    links.push_back(*std::move(link));
  }
  node_.Freeze();
  for (const auto& link : links) {
    for (int call = 0; call < kCalls; ++call) {
      link->Call(transport::RegisterModelRequest{TurnModel().ToJson()},
                 {.deadline = absl::Seconds(60)},
                 [&](const absl::StatusOr<transport::Reply>& reply) {
                   absl::Status status = reply.status();
                   if (reply.ok() && std::holds_alternative<transport::ErrorReply>(*reply))
                     status = std::get<transport::ErrorReply>(*reply).ToStatus();
                   ++(status.ok() ? answered : absl::IsResourceExhausted(status) ? refused : other);
                 });
    }
  }
  Await("what is too much to be refused", [&] { return refused == kLinks * (kCalls - kInFlight); });
  node_.Thaw();
  Await("an answer to every call", [&] { return answered + refused + other == kLinks * kCalls; });
  EXPECT_EQ(other.load(), 0);
  links.clear();
  Crowd crowd(node_.options(GetParam()), {}, 1, 5);
  crowd.AwaitGoodTurns("after the flood");
  ExpectRight(crowd.Stop());
  node_.ExpectNothingHeld();
}

// ---- A thousand that connect and say nothing.

int Knock(Carrier carrier, StuckNode* node) {
  const bool tcp = carrier == Carrier::kTcp;
  const int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  sockaddr_in remote{};
  remote.sin_family = AF_INET;
  remote.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string address = node->address(carrier);
  if (tcp) {
    remote.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(10))));
  } else {
    node->node().socket().copy(local.sun_path, sizeof(local.sun_path) - 1);
  }
  const int connected = tcp ? connect(fd, reinterpret_cast<sockaddr*>(&remote), sizeof(remote))
                            : connect(fd, reinterpret_cast<sockaddr*>(&local), sizeof(local));
  if (connected == 0) return fd;
  close(fd);
  return -1;
}

TEST_P(NeverStuck, AThousandThatNeverSpeak) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_cur < 2048) GTEST_SKIP() << "this shell allows too few open files: ulimit -n";
  Crowd crowd(node_.options(GetParam()), {}, 1, 6);
  crowd.AwaitGoodTurns("before the thousand come");
  std::vector<int> silent;
  for (int i = 0; i < 1000; ++i) {
    const int fd = Knock(GetParam(), &node_);
    if (fd >= 0) silent.push_back(fd);
  }
  EXPECT_GT(silent.size(), 500u) << "the door was not tried";
  crowd.AwaitGoodTurns("beside the silent thousand");
  size_t closed = 0;
  for (const int fd : silent) {  // by the node, after hello_timeout
    timeval patience{.tv_sec = 30, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    char byte[256];
    ssize_t got = 0;
    while ((got = recv(fd, byte, sizeof(byte), 0)) > 0) {
    }
    if (got == 0 || errno == ECONNRESET) ++closed;
    close(fd);
  }
  EXPECT_EQ(closed, silent.size());
  crowd.AwaitGoodTurns("after the thousand");
  ExpectRight(crowd.Stop());
  node_.ExpectNothingHeld();
}

}  // namespace
}  // namespace cistern::stuck
