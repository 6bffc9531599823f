#include "tests/fault/stuck/bad_wire.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <queue>
#include <random>
#include <vector>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"

namespace cistern::stuck {
namespace {

constexpr size_t kMtu = 16000;
constexpr uint64_t kSeed = 20;

absl::Status Missing(absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat(what, ": ", strerror(errno)));
}

// A host of its own for the calling thread. /sys is mounted afresh, because UCX looks there for
// devices.
absl::Status BecomeHost() {
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return Missing("unshare");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Missing("mount /");
  if (mount("sysfs", "/sys", "sysfs", 0, nullptr) != 0) return Missing("mount /sys");
  return absl::OkStatus();
}

absl::StatusOr<int> MakeDevice(const std::string& address) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return Missing("/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strncpy(request.ifr_name, "wire0", IFNAMSIZ - 1);
  if (ioctl(fd, TUNSETIFF, &request) != 0) return Missing("TUNSETIFF");
  const std::string commands = absl::StrCat("ip link set lo up && ip link set wire0 mtu ", kMtu,
                                            " up && ip addr add ", address, "/24 dev wire0");
  if (std::system(commands.c_str()) != 0)
    return Missing(commands);  // NOLINT(*-mt-unsafe,cert-env33-c)
  return fd;
}

absl::Status Enter(int net, int mounts) {
  if (setns(net, CLONE_NEWNET) != 0) return Missing("setns net");
  if (unshare(CLONE_FS) != 0 || setns(mounts, CLONE_NEWNS) != 0) return Missing("setns mnt");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<BadWire>> BadWire::Make() {
  std::unique_ptr<BadWire> wire(new BadWire());
  absl::Status made;
  std::thread([&] {
    made = [&]() -> absl::Status {
      CISTERN_RETURN_IF_ERROR(BecomeHost());
      CISTERN_ASSIGN_OR_RETURN(wire->there_, MakeDevice(kThere));
      wire->there_net_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
      wire->there_mounts_ = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
      if (wire->there_net_ < 0 || wire->there_mounts_ < 0) return Missing("/proc/thread-self/ns");
      return absl::OkStatus();
    }();
  }).join();
  CISTERN_RETURN_IF_ERROR(made);
  CISTERN_RETURN_IF_ERROR(BecomeHost());
  CISTERN_ASSIGN_OR_RETURN(wire->here_, MakeDevice("10.77.0.1"));
  wire->carrier_ = std::thread([raw = wire.get()] { raw->Carry(); });
  return wire;
}

BadWire::~BadWire() {
  stop_.store(true);
  if (carrier_.joinable()) carrier_.join();
  for (const int fd : {here_, there_, there_net_, there_mounts_}) {
    if (fd >= 0) close(fd);
  }
}

void BadWire::StartThere(const std::function<void()>& start) {
  absl::Status entered;
  std::thread([&] {
    entered = Enter(there_net_, there_mounts_);
    if (entered.ok()) start();
  }).join();
  if (!entered.ok()) std::abort();  // it was entered once already
}

void BadWire::Carry() {
  struct Packet {
    absl::Time due;
    uint64_t number;
    int to;
    std::vector<char> bytes;
    bool operator<(const Packet& other) const {
      return std::pair(due, number) > std::pair(other.due, other.number);
    }
  };
  std::priority_queue<Packet> under_way;
  std::mt19937_64 random(kSeed);
  std::vector<char> buffer(kMtu + 64);
  uint64_t number = 0;
  const auto take = [&](int from, int to) {
    for (ssize_t got; (got = read(from, buffer.data(), buffer.size())) > 0;) {
      if (cut_.load() || random() % 100 < lose_percent_.load()) {
        ++lost_;
        continue;
      }
      under_way.push({absl::Now() + absl::Microseconds(delay_us_.load()), ++number, to,
                      std::vector<char>(buffer.begin(), buffer.begin() + got)});
    }
  };
  while (!stop_.load()) {
    absl::Duration patience = absl::Milliseconds(20);
    if (!under_way.empty()) patience = std::min(patience, under_way.top().due - absl::Now());
    pollfd wanted[] = {{here_, POLLIN, 0}, {there_, POLLIN, 0}};
    const timespec wait = absl::ToTimespec(std::max(patience, absl::ZeroDuration()));
    (void)ppoll(wanted, 2, &wait, nullptr);
    take(here_, there_);
    take(there_, here_);
    while (!under_way.empty() && under_way.top().due <= absl::Now()) {
      const Packet& packet = under_way.top();
      if (write(packet.to, packet.bytes.data(), packet.bytes.size()) > 0) ++carried_;
      under_way.pop();
    }
  }
}

}  // namespace cistern::stuck
