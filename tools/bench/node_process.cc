#include "tools/bench/node_process.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/units.h"
#include "tools/bench/leftovers.h"
#include "transport/link.h"

namespace cistern::tools {
namespace {

namespace fs = std::filesystem;

std::string FindServer(const std::string& named) {
  if (!named.empty()) return named;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  for (const fs::path& candidate : {self.parent_path() / "cistern-server",
                                    self.parent_path() / "../../cacheserver/cistern-server"}) {
    if (!error && fs::exists(candidate)) return fs::weakly_canonical(candidate).string();
  }
  return "cistern-server";
}

std::string TailOf(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  return all.size() > 2000 ? all.substr(all.size() - 2000) : all;
}

// In the child, between fork and exec: system calls only. Ends with the reason on `complain`.
[[noreturn]] void BecomeNode(char* const* argv, const char* log, pid_t bench, int complain) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // however the bench ends, its node does not stay
  if (getppid() != bench) _exit(1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (out >= 0) {
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execvp(argv[0], argv);
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t told = write(complain, &error, sizeof(error));
  _exit(127);
}

// From the thread that lives as long as the node shall: the kernel kills the node when it ends.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const pid_t bench = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeNode(argv.data(), log.c_str(), bench, ends[1]);
  close(ends[1]);
  int error = pid < 0 ? errno : 0;
  if (pid > 0 && read(ends[0], &error, sizeof(error)) == sizeof(error)) waitpid(pid, nullptr, 0);
  close(ends[0]);
  if (error != 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot start '", arguments[0], "': ", strerror(error),
                     "; build the target cistern-server, or name it with --server"));
  }
  return pid;
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return absl::StrCat("signal ", WTERMSIG(status));
  return absl::StrCat("exit code ", WEXITSTATUS(status));
}

// What a node wrote, or why there may be nothing.
std::string WhatItSaid(const std::string& log) {
  const std::string text = TailOf(log);
  if (!text.empty()) return "it said:\n" + text;
  std::error_code error;
  const fs::path directory = fs::path(log).parent_path();
  const fs::space_info space = fs::space(directory, error);
  std::string said = absl::StrCat("it wrote no message to ", log);
  if (!error)
    absl::StrAppend(&said, " (", base::FormatBytes(space.available),
                    " are free there; if it is full, "
                    "set TMPDIR to a folder with room)");
  return said;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NodeProcess>> NodeProcess::Start(const NodeProcessOptions& options) {
  const std::string socket = (fs::path(options.directory) / "node.sock").string();
  const std::string log = (fs::path(options.directory) / "node.log").string();
  std::vector<std::string> arguments = {FindServer(options.binary),
                                        absl::StrCat("--unix_socket=", socket),
                                        absl::StrCat("--pool_bytes=", options.pool_bytes)};
  arguments.push_back(absl::StrCat(
      "--disk_path=", options.disk ? (fs::path(options.directory) / "disk").string() : ""));
  arguments.insert(arguments.end(), options.more_flags.begin(), options.more_flags.end());
  absl::StatusOr<pid_t> pid = Spawn(arguments, log);
  if (!pid.ok()) return pid.status();
  std::unique_ptr<NodeProcess> node(new NodeProcess(*pid, socket));
  SetNodeToKill(*pid);

  const absl::Time give_up = absl::Now() + options.start_timeout;
  while (absl::Now() < give_up) {
    if (transport::Connect(node->address(), {.connect_timeout = absl::Seconds(1)}).ok())
      return node;
    int status = 0;
    if (waitpid(node->pid_, &status, WNOHANG) == node->pid_) {
      node->pid_ = 0;
      SetNodeToKill(0);
      return absl::FailedPreconditionError(absl::StrCat("cistern-server stopped at once, ",
                                                        HowItEnded(status), "; ", WhatItSaid(log)));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return absl::DeadlineExceededError(absl::StrCat("cistern-server did not answer within ",
                                                  absl::FormatDuration(options.start_timeout), "; ",
                                                  WhatItSaid(log)));
}

NodeProcess::~NodeProcess() {
  if (pid_ != 0) Stop(SIGTERM);
}

void NodeProcess::Stop(int signal) {
  kill(pid_, signal);
  const absl::Time patience = absl::Now() + absl::Seconds(10);
  while (waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (absl::Now() > patience) kill(pid_, SIGKILL);
    absl::SleepFor(absl::Milliseconds(10));
  }
  SetNodeToKill(0);
  pid_ = 0;
}

uint64_t NodeProcess::ResidentBytes() const {
  std::ifstream statm(absl::StrCat("/proc/", pid_, "/statm"));
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace cistern::tools
