#include "tools/bench/node_process.h"

#include <filesystem>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
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

}  // namespace

absl::StatusOr<std::unique_ptr<NodeProcess>> NodeProcess::Start(const NodeProcessOptions& options) {
  const fs::path directory = options.directory;
  const std::string socket = (directory / "node.sock").string();
  ChildProcessOptions child{
      .name = "cistern-server",
      .arguments = {FindServer(options.binary), absl::StrCat("--unix_socket=", socket),
                    absl::StrCat("--pool_bytes=", options.pool_bytes),
                    absl::StrCat("--disk_path=",
                                 options.disk ? (directory / "disk").string() : "")},
      .log = (directory / "node.log").string(),
      .remedy = "build the target cistern-server, or name it with --server"};
  child.arguments.insert(child.arguments.end(), options.more_flags.begin(),
                         options.more_flags.end());
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> process, ChildProcess::Start(child));
  std::unique_ptr<NodeProcess> node(new NodeProcess(std::move(process), socket));
  const auto answers = [&node] {
    return transport::Connect(node->address(), {.connect_timeout = absl::Seconds(1)}).ok();
  };
  CISTERN_RETURN_IF_ERROR(node->process_->AwaitAnswer(answers, options.start_timeout));
  return node;
}

}  // namespace cistern::tools
