#include "tools/bench/leftovers.h"

#include <cerrno>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace cistern::tools {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "cistern-bench-";
constexpr char kLock[] = "owner.lock";

struct Leftovers {
  std::mutex mutex;
  std::set<pid_t> processes;
  std::string folder;
};

// Never destroyed: the thread that waits for signals outlives main.
Leftovers& TheLeftovers() {
  static auto* leftovers = new Leftovers;
  return *leftovers;
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

void RemoveFolder(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

void WaitAndCleanUp() {
  const sigset_t signals = StopSignals();
  int signal = 0;
  sigwait(&signals, &signal);
  Leftovers& left = TheLeftovers();
  const std::lock_guard<std::mutex> lock(left.mutex);
  for (const pid_t process : left.processes) kill(process, SIGKILL);
  for (const pid_t process : left.processes) {
    while (waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (!left.folder.empty()) RemoveFolder(left.folder);
  _exit(128 + signal);
}

// The lock of a directory that nobody holds any more, or -1.
int TakeLock(const fs::path& directory, int flags) {
  const int lock = open((directory / kLock).c_str(), O_RDWR | O_CLOEXEC | flags, 0600);
  if (lock < 0) return -1;
  if (flock(lock, LOCK_EX | LOCK_NB) == 0) return lock;
  close(lock);
  return -1;
}

void RemoveThoseOfKilledRuns(const fs::path& parent) {
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    if (!absl::StartsWith(it->path().filename().string(), kPrefix)) continue;
    const int lock = TakeLock(it->path(), 0);
    if (lock < 0) continue;
    RemoveFolder(it->path().string());
    close(lock);
  }
}

}  // namespace

void CleanUpOnSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread(WaitAndCleanUp).detach();
}

void AddProcessToKill(pid_t pid) {
  Leftovers& left = TheLeftovers();
  const std::lock_guard<std::mutex> lock(left.mutex);
  left.processes.insert(pid);
}

void ForgetProcess(pid_t pid) {
  Leftovers& left = TheLeftovers();
  const std::lock_guard<std::mutex> lock(left.mutex);
  left.processes.erase(pid);
}

absl::StatusOr<std::unique_ptr<ScratchDirectory>> ScratchDirectory::Make() {
  std::error_code error;
  const fs::path parent = fs::temp_directory_path(error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("there is no temporary folder: ", error.message(),
                                               "; set TMPDIR to a writable one"));
  }
  RemoveThoseOfKilledRuns(parent);
  std::string path = (parent / absl::StrCat(kPrefix, "XXXXXX")).string();
  // The watcher must see it as soon as it is there.
  Leftovers& left = TheLeftovers();
  const std::lock_guard<std::mutex> guard(left.mutex);
  if (mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot make a scratch directory '", path, "': set TMPDIR to a writable one"));
  }
  left.folder = path;
  return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(path, TakeLock(path, O_CREAT)));
}

ScratchDirectory::~ScratchDirectory() {
  Leftovers& left = TheLeftovers();
  const std::lock_guard<std::mutex> guard(left.mutex);
  RemoveFolder(path_);
  if (lock_ >= 0) close(lock_);
  left.folder.clear();
}

}  // namespace cistern::tools
