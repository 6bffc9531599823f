#include "tools/bench/node_process.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

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

absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments, const std::string& log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot start '", arguments[0], "': ", strerror(error),
                     "; build the target cistern-server, or name it with --server"));
  }
  return pid;
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
  absl::StatusOr<pid_t> pid = Spawn(arguments, log);
  if (!pid.ok()) return pid.status();
  std::unique_ptr<NodeProcess> node(new NodeProcess(*pid, socket));

  const absl::Time give_up = absl::Now() + options.start_timeout;
  while (absl::Now() < give_up) {
    if (transport::Connect(node->address(), {.connect_timeout = absl::Seconds(1)}).ok())
      return node;
    if (waitpid(node->pid_, nullptr, WNOHANG) == node->pid_) {
      node->pid_ = 0;
      return absl::FailedPreconditionError(
          absl::StrCat("cistern-server stopped at once; it said:\n", TailOf(log)));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return absl::DeadlineExceededError(absl::StrCat("cistern-server did not answer within ",
                                                  absl::FormatDuration(options.start_timeout),
                                                  "; it said:\n", TailOf(log)));
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
  pid_ = 0;
}

uint64_t NodeProcess::ResidentBytes() const {
  std::ifstream statm(absl::StrCat("/proc/", pid_, "/statm"));
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace cistern::tools
