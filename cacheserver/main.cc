// cistern-server: one cache node. Flags and file in, signals out.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "cacheserver/flags.h"
#include "cacheserver/log.h"
#include "cacheserver/node.h"
#include "cacheserver/version.h"

namespace cistern::cacheserver {
namespace {

constexpr int kExitBadConfig = 2;
constexpr int kExitStopped = 130;

constexpr char kUsage[] =
    R"(cistern-server: one node of a cache for what LLM inference workers compute

  cistern-server --unix_socket=/tmp/cistern.sock --pool_bytes=4GiB
      Memory only, for the workers of this host.
  cistern-server --disk_path=/var/lib/cistern --flush_on_stop
      With a disk tier below memory; a restart serves what is there.
  cistern-server --config=/etc/cistern/cistern.json --ucx_address=0.0.0.0:7411
      From a file (flags win over it), also for workers of other hosts, over RDMA or TCP.

Workers connect with the client library; `cistern status` shows what the node does.
SIGTERM or SIGINT stop it: calls in progress end, memory is written to disk if --flush_on_stop says so. A second
signal stops it at once.
Exit code: 0 stopped as asked; 1 the node could not start; 2 wrong flags or configuration; 130 stopped at once.)";

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

int WaitForSignal() {
  const sigset_t signals = StopSignals();
  int signal = 0;
  sigwait(&signals, &signal);
  return signal;
}

int Complain(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "cistern-server: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

int Serve(const NodeConfig& config) {
  Log log(config.log_level, config.log_format);
  absl::StatusOr<std::unique_ptr<Node>> node = Node::Start(config, &log, base::Clock::Real());
  if (!node.ok()) {
    log.Error("the node could not start", {{"error", node.status()}});
    return Complain(node.status(), EXIT_FAILURE);
  }
  const int signal = WaitForSignal();
  log.Info("stopping", {{"signal", signal}});
  std::thread([] {
    WaitForSignal();
    _exit(kExitStopped);
  }).detach();
  (*node)->Stop();
  return EXIT_SUCCESS;
}

int Main(int argc, char** argv) {
  // Before any thread is made, so that all of them leave these signals to WaitForSignal.
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  absl::SetProgramUsageMessage(kUsage);
  absl::FlagsUsageConfig usage;
  usage.contains_help_flags = [](absl::string_view file) {
    return absl::StrContains(file, "cacheserver/");
  };
  usage.version_string = [] { return absl::StrCat("cistern-server ", kVersion, "\n"); };
  absl::SetFlagsUsageConfig(usage);
  const std::vector<std::string> given = GivenFlags(argc, argv);
  const std::vector<char*> words = absl::ParseCommandLine(argc, argv);
  if (words.size() > 1)
    return Complain(absl::InvalidArgumentError(
                        absl::StrCat("'", words[1],
                                     "' is no flag; settings are given as --name=value, and "
                                     "--help lists them")),
                    kExitBadConfig);

  absl::StatusOr<NodeConfig> config = ConfigFromFlags(given);
  if (!config.ok()) return Complain(config.status(), kExitBadConfig);
  if (CheckConfigOnly()) {
    std::printf("%s\n", ConfigToText(*config).c_str());
    return EXIT_SUCCESS;
  }
  return Serve(*config);
}

}  // namespace
}  // namespace cistern::cacheserver

int main(int argc, char** argv) { return cistern::cacheserver::Main(argc, argv); }
