#include "tools/bench/python/python_worker.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "tools/bench/child_process.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using Json = nlohmann::json;

constexpr int kAnswerMs = 120'000;

// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Reset(-1); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void Reset(int fd) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status ListenOn(const std::string& path, Descriptor* listener) {
  sockaddr_un address = {.sun_family = AF_UNIX};
  if (path.size() >= sizeof(address.sun_path))
    return absl::InvalidArgumentError(absl::StrCat("too long for a socket: ", path));
  std::memcpy(address.sun_path, path.data(), path.size());
  listener->Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(listener->get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener->get(), 1) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("listening on ", path));
  return absl::OkStatus();
}

class PythonProcess final : public BenchWorker {
 public:
  static absl::StatusOr<std::unique_ptr<PythonProcess>> Start(const PythonWorkerOptions& options);

  absl::StatusOr<Json> Ask(const Json& request);
  absl::StatusOr<WorkTimes> Measure(absl::string_view work, uint32_t calls) override;

 private:
  absl::Status Send(std::string line);
  absl::StatusOr<std::string> ReceiveLine();

  std::unique_ptr<ChildProcess> process_;
  Descriptor socket_{-1};
  std::string received_;
};

absl::StatusOr<std::unique_ptr<PythonProcess>> PythonProcess::Start(
    const PythonWorkerOptions& options) {
  const std::filesystem::path directory = options.directory;
  const std::string path = (directory / "python.sock").string();
  Descriptor listener(-1);
  CISTERN_RETURN_IF_ERROR(ListenOn(path, &listener));
  auto python = std::make_unique<PythonProcess>();
  CISTERN_ASSIGN_OR_RETURN(
      python->process_,
      ChildProcess::Start(
          {.name = "the Python worker",
           .arguments = {options.interpreter, options.script, path, options.package},
           .log = (directory / "python.log").string(),
           .remedy = "name an interpreter that has cistern and numpy with --python"}));
  const auto connected = [&] {
    python->socket_.Reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return python->socket_.get() >= 0;
  };
  CISTERN_RETURN_IF_ERROR(python->process_->AwaitAnswer(connected, absl::Seconds(60)));
  return python;
}

absl::Status PythonProcess::Send(std::string line) {
  line += '\n';
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError("the Python worker has ended");
    sent += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PythonProcess::ReceiveLine() {
  size_t end = 0;
  while ((end = received_.find('\n')) == std::string::npos) {
    pollfd waits{.fd = socket_.get(), .events = POLLIN};
    const int ready = poll(&waits, 1, kAnswerMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return absl::DeadlineExceededError("the Python worker does not answer");
    char some[1 << 16];
    const ssize_t n = recv(socket_.get(), some, sizeof(some), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::UnavailableError("the Python worker has ended");
    received_.append(some, static_cast<size_t>(n));
  }
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  return line;
}

absl::StatusOr<Json> PythonProcess::Ask(const Json& request) {
  CISTERN_RETURN_IF_ERROR(Send(request.dump()));
  CISTERN_ASSIGN_OR_RETURN(const std::string line, ReceiveLine());
  Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object()) return absl::InternalError("the Python worker answers nonsense");
  if (!answer.contains("error")) return answer;
  const std::string text = absl::StrCat("Python side: ", answer.value("error", ""));
  return answer.value("wrong", false) ? absl::DataLossError(text) : absl::UnavailableError(text);
}

absl::StatusOr<WorkTimes> PythonProcess::Measure(absl::string_view work, uint32_t calls) {
  CISTERN_ASSIGN_OR_RETURN(const Json answer, Ask({{"do", std::string(work)}, {"calls", calls}}));
  WorkTimes times;
  const auto us = answer.find("us");
  if (us == answer.end() || !us->is_array() || us->size() != calls)
    return absl::InternalError("the Python worker measured another number of calls");
  for (const Json& one : *us) {
    if (!one.is_number()) return absl::InternalError("the Python worker measured nonsense");
    times.us.push_back(one.get<double>());
  }
  times.extra_bytes = answer.value("extra_bytes", uint64_t{0});
  return times;
}

Json JsonOf(const base::ModelSpec& model, uint32_t tokens) {
  return {{"model", model.ToJson()}, {"tokens", tokens}};
}

}  // namespace

absl::StatusOr<PythonWorker> StartPythonWorker(const PythonWorkerOptions& options,
                                               const WorkTerms& terms) {
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<PythonProcess> process, PythonProcess::Start(options));
  CISTERN_ASSIGN_OR_RETURN(
      const Json answer,
      process->Ask({{"do", "set_up"},
                    {"address", terms.address},
                    {"pass_library", options.pass_library},
                    {"flip_a_byte", options.flip_a_byte},
                    {"lookup", JsonOf(terms.lookup, kLookupKeys * kLookupChunkTokens)},
                    {"small", JsonOf(terms.small.model, terms.small.tokens)},
                    {"large", JsonOf(terms.large.model, terms.large.tokens)},
                    {"keys", kLookupKeys},
                    {"blob_bytes", kSmallBlobBytes},
                    {"views", kViews},
                    {"view_bytes", kViewBytes}}));
  return PythonWorker{answer.value("python", ""), answer.value("arrays", ""),
                      answer.value("in_place", false), std::move(process)};
}

}  // namespace cistern::tools
