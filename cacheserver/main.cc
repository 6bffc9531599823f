// cistern-server: one cache node. Flags and file in, signals out.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/command_line.h"
#include "base/mutex.h"
#include "cacheserver/flags.h"
#include "cacheserver/help.h"
#include "cacheserver/log.h"
#include "cacheserver/node.h"
#include "cacheserver/version.h"

namespace cistern::cacheserver {
namespace {

namespace fs = std::filesystem;

constexpr int kExitBadConfig = 2;
constexpr int kExitStopped = 130;

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

// What a signal to stop means: while the node starts, which may take long and holds nothing that
// could be lost, the end at once; then a stop in order; then, if that takes too long, the end.
class Stopper {
 public:
  explicit Stopper(Log* log) : log_(log) {
    std::thread([this] { Watch(); }).detach();  // as long as the process
  }

  // The node serves from now on: gives the signal that it should stop for.
  int AwaitStop() {
    base::MutexLock lock(&mutex_);
    serving_ = true;
    changed_.wait(mutex_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return signal_ != 0; });
    return signal_;
  }

 private:
  void Watch() {
    const int signal = WaitForSignal();
    {
      base::MutexLock lock(&mutex_);
      if (!serving_) {
        log_->Info("stopped while starting", {{"signal", signal}});
        _exit(EXIT_SUCCESS);
      }
      signal_ = signal;
      changed_.notify_all();
    }
    WaitForSignal();
    _exit(kExitStopped);
  }

  Log* const log_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  int signal_ ABSL_GUARDED_BY(mutex_) = 0;
};

int Complain(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "cistern-server: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

// The socket's directory, if it is not there but the one above it is.
absl::Status MakeSocketDirectory(const std::string& socket) {
  const fs::path directory = fs::path(socket).parent_path();
  std::error_code error;
  if (directory.empty() || fs::exists(directory, error)) return absl::OkStatus();
  if (fs::create_directory(directory, error)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("unix_socket = '", socket, "': cannot make its directory: ", error.message(),
                   "; make it as root (install -d -o $USER ", directory.string(),
                   "), or choose another place: --unix_socket=/tmp/cistern.sock"));
}

int Serve(const NodeConfig& config) {
  static Log log(config.log_level, config.log_format);  // the stopper's thread may outlive main
  static Stopper stopper(&log);
  const absl::Status place = MakeSocketDirectory(config.unix_socket);
  absl::StatusOr<std::unique_ptr<Node>> node =
      place.ok() ? Node::Start(config, &log, base::Clock::Real()) : place;
  if (!node.ok()) {
    if (config.log_format == LogFormat::kText) return Complain(node.status(), EXIT_FAILURE);
    log.Error("the node could not start", {{"error", node.status()}});
    return EXIT_FAILURE;
  }
  const int signal = stopper.AwaitStop();
  log.Info("stopping", {{"signal", signal}});
  (*node)->Stop();
  return EXIT_SUCCESS;
}

int Main(int argc, char** argv) {
  // Before any thread is made, so that all of them leave these signals to WaitForSignal.
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  if (WantsHelp(argc, argv)) {
    std::printf("%s", HelpPage().c_str());
    return EXIT_SUCCESS;
  }
  if (base::HasFlag(argc, argv, "version")) {
    std::printf("cistern-server %s\n", kVersion);
    return EXIT_SUCCESS;
  }
  const std::vector<std::string> given = GivenFlags(argc, argv);
  const absl::StatusOr<std::vector<std::string>> words = base::ParseCommandLine(argc, argv);
  if (!words.ok()) return Complain(words.status(), kExitBadConfig);
  if (!words->empty())
    return Complain(absl::InvalidArgumentError(
                        absl::StrCat("'", words->front(),
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
