// A server that the bench starts for one run. It does not outlive the thread that started it,
// however that ends, and a signal to the bench ends it as well.
//
//   Start AwaitAnswer Stop?
//
// Thread   one at a time; the one that calls Start lives as long as the child shall
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cistern::tools {

struct ChildProcessOptions {
  std::string name;                    // in messages
  std::vector<std::string> arguments;  // the first is the program: a path, or looked for on PATH
  std::string log;                     // a file: what it writes
  std::string remedy;                  // when the program is not there
};

class ChildProcess {
 public:
  // NotFound, with the remedy: there is no such program.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const ChildProcessOptions& options);
  ~ChildProcess();  // SIGTERM, and SIGKILL when it has not gone within ten seconds

  // Until `answers` says so. FailedPrecondition, with the end of its log, when it stops before
  // that; DeadlineExceeded.
  absl::Status AwaitAnswer(const std::function<bool()>& answers, absl::Duration patience);

  pid_t pid() const { return pid_; }
  uint64_t ResidentBytes() const;
  void Stop(int signal);  // and waits for the end; nothing when it has ended

 private:
  ChildProcess(std::string name, std::string log, pid_t pid)
      : name_(std::move(name)), log_(std::move(log)), pid_(pid) {}

  const std::string name_, log_;
  pid_t pid_;  // 0: it was waited for
};

}  // namespace cistern::tools
