// A server under trouble, and what must be true of it when the trouble is over.
#pragma once

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/fault/stuck/turns.h"
#include "tests/integration/node_under_test.h"

namespace cistern::stuck {

// A port of 127.0.0.1 that was free a moment ago: it must be the same after a restart. None of
// those that the system gives to whoever connects, which somebody may have while the node is down.
inline int FreePort() {
  static constexpr int kFirst = 20000;
  static constexpr int kPorts = 12000;
  const int start = static_cast<int>(getpid() % kPorts);
  for (int i = 0; i < kPorts; ++i) {
    const int port = kFirst + (start + i * 1009) % kPorts;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (free) return port;
  }
  ADD_FAILURE() << "no free port";
  return 0;
}

enum class Carrier { kMapped, kCopied, kTcp };

inline std::string CarrierName(const testing::TestParamInfo<Carrier>& info) {
  const char* const names[] = {"Mapped", "Copied", "Tcp"};
  return names[static_cast<int>(info.param)];
}

class StuckNode {
 public:
  explicit StuckNode(const std::vector<std::string>& flags = {}, int port = FreePort(),
                     const std::string& host = "127.0.0.1")
      : tcp_(absl::StrCat(host, ":", port)), node_(With(flags, tcp_)) {
    node_.Start();
  }

  cacheserver::NodeUnderTest& node() { return node_; }
  std::string address(Carrier carrier) const {
    return carrier == Carrier::kTcp ? tcp_ : node_.unix_address();
  }
  ClientOptions options(Carrier carrier, const Deadlines& deadlines = {}) const {
    return QuickOptions(address(carrier), deadlines, carrier == Carrier::kMapped);
  }

  // SIGSTOP, and until it has taken effect on every thread.
  void Freeze() {
    node_.process().Signal(SIGSTOP);
    const std::string tasks = absl::StrCat("/proc/", node_.process().pid(), "/task");
    cacheserver::Await("the node to stop", [&] {
      for (const auto& task : std::filesystem::directory_iterator(tasks)) {
        std::ifstream in(task.path() / "stat");
        const std::string stat{std::istreambuf_iterator<char>(in), {}};
        if (!absl::StrContains(stat, ") T ")) return false;
      }
      return true;
    });
  }
  void Thaw() { node_.process().Signal(SIGCONT); }

  // Nobody is there any more, and nothing is held for anybody.
  void ExpectNothingHeld() {
    cacheserver::Await("all sessions but the tool's own to end",
                       [&] { return node_.Status().at("sessions").at("open") == 1; });
    const auto status = node_.Status();
    EXPECT_EQ(status.at("leases"), 0) << status;
    EXPECT_EQ(status.at("reservations"), 0) << status;
    EXPECT_EQ(status.at("eviction").at("pinned_objects"), 0) << status;
    for (const auto& [what, waiting] : status.at("waiting").items()) EXPECT_EQ(waiting, 0) << what;
  }

 private:
  static std::vector<std::string> With(std::vector<std::string> flags, const std::string& tcp) {
    flags.push_back("--ucx_address=" + tcp);
    return flags;
  }

  const std::string tcp_;
  cacheserver::NodeUnderTest node_;
};

}  // namespace cistern::stuck
