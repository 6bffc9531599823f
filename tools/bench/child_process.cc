#include "tools/bench/child_process.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "tools/bench/leftovers.h"

namespace cistern::tools {
namespace {

namespace fs = std::filesystem;

std::string TailOf(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  return all.size() > 2000 ? all.substr(all.size() - 2000) : all;
}

// In the child, between fork and exec: system calls only. Ends with the reason on `complain`.
[[noreturn]] void BecomeServer(char* const* argv, const char* log, pid_t bench, int complain) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // however the bench ends, its servers do not stay
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

// From the thread that lives as long as the child shall: the kernel kills the child when it ends.
absl::StatusOr<pid_t> Spawn(const ChildProcessOptions& options) {
  const std::vector<std::string>& arguments = options.arguments;
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const pid_t bench = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeServer(argv.data(), options.log.c_str(), bench, ends[1]);
  close(ends[1]);
  int error = pid < 0 ? errno : 0;
  if (pid > 0 && read(ends[0], &error, sizeof(error)) == sizeof(error)) waitpid(pid, nullptr, 0);
  close(ends[0]);
  if (error != 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot start '", arguments[0], "': ", strerror(error), "; ", options.remedy));
  }
  return pid;
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return absl::StrCat("signal ", WTERMSIG(status));
  return absl::StrCat("exit code ", WEXITSTATUS(status));
}

// What a server wrote, or why there may be nothing.
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

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const ChildProcessOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(const pid_t pid, Spawn(options));
  AddProcessToKill(pid);
  return std::unique_ptr<ChildProcess>(new ChildProcess(options.name, options.log, pid));
}

absl::Status ChildProcess::AwaitAnswer(const std::function<bool()>& answers,
                                       absl::Duration patience) {
  const absl::Time give_up = absl::Now() + patience;
  while (absl::Now() < give_up) {
    if (answers()) return absl::OkStatus();
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      ForgetProcess(pid_);
      pid_ = 0;
      return absl::FailedPreconditionError(
          absl::StrCat(name_, " stopped at once, ", HowItEnded(status), "; ", WhatItSaid(log_)));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return absl::DeadlineExceededError(absl::StrCat(
      name_, " did not answer within ", absl::FormatDuration(patience), "; ", WhatItSaid(log_)));
}

ChildProcess::~ChildProcess() { Stop(SIGTERM); }

void ChildProcess::Stop(int signal) {
  if (pid_ == 0) return;
  kill(pid_, signal);
  const absl::Time patience = absl::Now() + absl::Seconds(10);
  while (waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (absl::Now() > patience) kill(pid_, SIGKILL);
    absl::SleepFor(absl::Milliseconds(10));
  }
  ForgetProcess(pid_);
  pid_ = 0;
}

uint64_t ChildProcess::ResidentBytes() const {
  std::ifstream statm(absl::StrCat("/proc/", pid_, "/statm"));
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace cistern::tools
