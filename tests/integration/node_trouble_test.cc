// Bad days: workers that die, addresses in use, wrong configurations, garbage, a full disk,
// impatience.
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/integration/node_under_test.h"

namespace cistern::cacheserver {
namespace {

using testing::HasSubstr;
using transport::Where;

class WorkerDeathTest : public testing::TestWithParam<const char*> {};

TEST_P(WorkerDeathTest, WhatAKilledWorkerHeldIsGivenBack) {
  NodeUnderTest node({});
  node.Start();
  Worker publisher(node.unix_address());
  ASSERT_TRUE(publisher.Publish(TestSegment(1)).ok());
  Process holder({NODE_WORKER, node.unix_address(), GetParam()}, node.Path("holder"));
  Await("the worker to hold something",
        [&] { return holder.Out() == "holding\n" || !holder.Running(); });
  ASSERT_TRUE(holder.Running()) << holder.Err();
  const bool lease = std::string(GetParam()) == "lease";
  EXPECT_EQ(node.Status().at(lease ? "leases" : "reservations"), 1);
  holder.Signal(SIGKILL);
  Await("its session to end", [&] { return node.Status().at("sessions").at("open") == 2; });
  const auto status = node.Status();
  EXPECT_EQ(status.at("leases"), 0);
  EXPECT_EQ(status.at("reservations"), 0);
  EXPECT_EQ(publisher.Publish(TestSegment(2, 64)), absl::OkStatus()) << "free to be written again";
}

INSTANTIATE_TEST_SUITE_P(All, WorkerDeathTest, testing::Values("reserve", "lease"));

TEST(NodeTroubleTest, ASocketPortOrDirectoryInUseIsOneClearError) {
  NodeUnderTest node({"--ucx_address=127.0.0.1:0", "--disk_path=SCRATCHdisk"});
  node.Start();
  const std::string port = node.ucx_address();
  const auto fails = [&](std::vector<std::string> flags, const std::string& says) {
    flags.insert(flags.begin(), {CISTERN_SERVER, "--pool_bytes=16MiB"});
    const Finished end = Process(flags, node.Path("second")).Wait();
    EXPECT_EQ(end.exit_code, 1);
    EXPECT_THAT(end.err, HasSubstr(says));
  };
  fails({"--unix_socket=" + node.socket()}, node.socket());
  fails({"--unix_socket=", "--ucx_address=" + port}, port);
  fails({"--unix_socket=" + node.Path("other"), "--disk_path=" + node.Path("disk")},
        "another server uses this directory");
  EXPECT_EQ(node.Status().at("node").at("pid"), node.process().pid()) << "the first still serves";
}

// A start that takes long (here it reads a model from a pipe that nobody writes to) does not
// outlive the order to stop.
TEST(NodeTroubleTest, AStopWhileStartingIsTheEndAtOnce) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk", "--log_level=info"});
  ASSERT_EQ(mkfifo(node.Path("model.json").c_str(), 0600), 0);
  Process server({CISTERN_SERVER, "--pool_bytes=16MiB", "--unix_socket=" + node.socket(),
                  "--disk_path=" + node.Path("disk"), "--models=" + node.Path("model.json")},
                 node.Path("server"));
  Await("the memory to be touched, which comes before the models", [&] {
    return !server.Running() || server.Err().find("memory touched") != std::string::npos ||
           server.Out().find("memory touched") != std::string::npos;
  });
  ASSERT_TRUE(server.Running()) << server.Err();
  server.Signal(SIGTERM);
  const Finished end = server.Wait();
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_THAT(end.out + end.err, HasSubstr("stopped while starting"));
  EXPECT_THAT(end.out + end.err, testing::Not(HasSubstr("node started")));
}

TEST(NodeTroubleTest, AStaleSocketIsNoObstacle) {
  NodeUnderTest node({});
  node.Start();
  node.Stop(SIGKILL);
  ASSERT_TRUE(std::filesystem::exists(node.socket()));
  node.Start();
  EXPECT_EQ(node.Status().at("leases"), 0);
}

TEST(NodeTroubleTest, AWrongConfigurationIsExplained) {
  Scratch scratch;
  const auto fails = [&](std::vector<std::string> flags, const std::string& says) {
    flags.insert(flags.begin(), CISTERN_SERVER);
    const Finished end = Process(flags, scratch.Path("server")).Wait();
    EXPECT_NE(end.exit_code, 0);
    EXPECT_THAT(end.err, HasSubstr(says));
    return end.exit_code;
  };
  EXPECT_EQ(fails({"--config=/nonexistent.json"}, "/nonexistent.json"), 2);
  std::ofstream(scratch.Path("bad.json")) << R"({"pool_size": "1GiB"})";
  EXPECT_EQ(fails({"--config=" + scratch.Path("bad.json")}, "'pool_bytes'"), 2);
  std::ofstream(scratch.Path("garbage.json")) << "\x01\x02 not json";
  EXPECT_EQ(fails({"--config=" + scratch.Path("garbage.json")}, "not valid JSON"), 2);
  EXPECT_EQ(fails({"--lanes=0"}, "give 1 to 256"), 2);
  EXPECT_EQ(fails({"--unix_socket="}, "nobody could reach this node"), 2);
  EXPECT_EQ(fails({"word"}, "'word' is no flag"), 2);
  fails({"--pool_byte=1"}, "pool_byte");
  const std::string socket = "--unix_socket=" + scratch.Path("s");
  EXPECT_EQ(fails({socket, "--models=no-such-model", "--pool_bytes=1MiB"}, "no-such-model"), 1);
  EXPECT_EQ(fails({socket, "--models=/nonexistent/config.json", "--pool_bytes=1MiB"},
                  "/nonexistent/config.json"),
            1);
  EXPECT_EQ(fails({socket, "--models=deepseek-v3", "--pool_bytes=1MiB"}, "does not hold one page"),
            1);
  EXPECT_EQ(fails({"--unix_socket=/nonexistent/dir/s", "--pool_bytes=1MiB"}, "/nonexistent/dir/s"),
            1);
  EXPECT_EQ(fails({socket, "--pool_bytes=1000TiB"}, "pool_bytes"), 1);
}

TEST(NodeTroubleTest, ASegmentThatNeverFitsIsSaidSo) {
  NodeUnderTest node({"--pool_bytes=1MiB"});
  node.Start();
  Worker worker(node.unix_address());
  const auto reserved = worker.Reserve(TestSegment(1, 16 * 20));
  ASSERT_TRUE(reserved.ok()) << reserved.status();
  EXPECT_EQ(reserved->outcome, transport::ReserveOutcome::kTooLarge);
  EXPECT_EQ(worker.Publish(TestSegment(2)), absl::OkStatus());
}

TEST(NodeTroubleTest, GarbageOnTheSocketIsCountedAndHarmsNobody) {
  NodeUnderTest node({});
  node.Start();
  Worker worker(node.unix_address());
  ASSERT_TRUE(worker.Publish(TestSegment(1)).ok());
  for (const std::string& garbage :
       {std::string(4096, '\xff'), std::string("GET / HTTP/1.1\r\n\r\n"), std::string(64, '\0')}) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{.sun_family = AF_UNIX};
    node.socket().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(garbage.size()));
    shutdown(fd, SHUT_WR);
    char buffer[256];
    while (recv(fd, buffer, sizeof(buffer), 0) > 0) {
    }
    close(fd);
  }
  EXPECT_GE(node.Status().at("calls").at("bad_messages"), 1);
  EXPECT_EQ(worker.Verify(TestSegment(1)), absl::OkStatus());
}

// Workers that ask for room in a full node again and again, so that at any moment some of them wait
// for it: a call waits for 100 ms at most.
class Queue {
 public:
  explicit Queue(const std::string& address) {
    for (uint32_t i = 0; i < kLength; ++i) workers_.push_back(std::make_unique<Worker>(address));
    for (uint32_t i = 0; i < kLength; ++i) threads_.emplace_back([this, i] { Ask(i); });
  }
  ~Queue() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  static constexpr uint32_t kLength = 4;

  void Ask(uint32_t i) {
    absl::StatusOr<transport::ReserveResult> answer;
    while ((answer = workers_[i]->Reserve(TestSegment(10 + i))).ok()) {
      EXPECT_EQ(answer->outcome, transport::ReserveOutcome::kNoRoom);
    }
    EXPECT_TRUE(absl::IsUnavailable(answer.status())) << answer.status();
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

TEST(NodeTroubleTest, ACallInProgressIsAnsweredWhenTheNodeStops) {
  NodeUnderTest node({"--pool_bytes=1MiB", "--drain_timeout=0s"});
  node.Start();
  Worker holder(node.unix_address());
  ASSERT_EQ(holder.Reserve(TestSegment(1, 16 * 16))->outcome, transport::ReserveOutcome::kReserved);
  const Queue queue(node.unix_address());
  Await("calls to wait", [&] { return node.Status().at("waiting").at("for_room") > 0; });
  EXPECT_EQ(node.Stop(SIGTERM).exit_code, 0);
}

TEST(NodeTroubleTest, ASecondSignalStopsAtOnce) {
  NodeUnderTest node({"--pool_bytes=1MiB", "--drain_timeout=50s"});
  node.Start();
  Worker holder(node.unix_address());
  ASSERT_EQ(holder.Reserve(TestSegment(1, 16 * 16))->outcome, transport::ReserveOutcome::kReserved);
  const Queue queue(node.unix_address());
  Await("calls to wait", [&] { return node.Status().at("waiting").at("for_room") > 0; });
  node.process().Signal(SIGSTOP);  // both signals find it while they still wait
  node.process().Signal(SIGTERM);
  node.process().Signal(SIGINT);
  EXPECT_EQ(node.Stop(SIGCONT).exit_code, 130);
}

TEST(NodeTroubleTest, AFullDiskLosesNothingThatWasCommitted) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to mount a small file system";
  Scratch scratch;
  const std::string disk = scratch.Path("small");
  std::filesystem::create_directory(disk);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=24m") != 0)
    GTEST_SKIP() << "cannot mount: " << strerror(errno);
  {
    NodeUnderTest node({"--disk_path=" + disk + "/d"});
    node.Start();
    Worker worker(node.unix_address());
    for (uint32_t i = 1; i <= 200; ++i)  // 50 MiB: more than the disk takes, less than memory
      ASSERT_EQ(worker.Publish(TestSegment(i, 64)), absl::OkStatus()) << i;
    const Finished flush = node.Cli({"flush", "--deadline", "60s"});
    EXPECT_EQ(flush.exit_code, 4) << flush.out << flush.err;
    EXPECT_THAT(flush.out, HasSubstr("still in memory only"));
    for (uint32_t i = 1; i <= 200; ++i)
      EXPECT_EQ(worker.Verify(TestSegment(i, 64)), absl::OkStatus()) << i;
    const auto on_disk = node.Status().at("disk").at("records").get<uint64_t>();
    EXPECT_GT(on_disk, 0u);
    EXPECT_LT(on_disk, 200u);
    EXPECT_EQ(node.CliJson({"verify", "--deadline", "60s"}).at("wrong").size(), 0u);

    EXPECT_EQ(node.Stop(SIGKILL).signal, SIGKILL);
    node.Start();
    Worker again(node.unix_address());
    uint64_t served = 0;
    for (uint32_t i = 1; i <= 200; ++i) {
      if (again.WhereIs(TestSegment(i, 64)) == Where::kMiss) continue;
      EXPECT_EQ(again.Verify(TestSegment(i, 64)), absl::OkStatus()) << i;
      ++served;
    }
    EXPECT_EQ(served, on_disk);
  }
  EXPECT_EQ(umount2(disk.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace cistern::cacheserver
