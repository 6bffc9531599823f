// What a run must not leave behind when it is stopped from outside: processes, a folder.
//
// SIGINT, SIGTERM, SIGHUP   the processes are killed and waited for, the folder removed, the exit
//                           code is 128 and the signal's number
// SIGKILL                   the kernel kills the processes (ChildProcess); the next run removes the
//                           folder
#pragma once

#include <memory>
#include <string>

#include <sys/types.h>

#include "absl/status/statusor.h"

namespace cistern::tools {

// Before any other thread is made: those then leave the signals to the one that waits for them.
void CleanUpOnSignals();

// A child to kill, until it was waited for.
void AddProcessToKill(pid_t pid);
void ForgetProcess(pid_t pid);

// A directory that goes away with its owner, or with the process.
class ScratchDirectory {
 public:
  // In TMPDIR, or /tmp; removes those of killed runs first. Unavailable: it cannot be made.
  static absl::StatusOr<std::unique_ptr<ScratchDirectory>> Make();
  ~ScratchDirectory();
  const std::string& path() const { return path_; }

 private:
  ScratchDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  int lock_;  // held as long as this process lives
};

}  // namespace cistern::tools
