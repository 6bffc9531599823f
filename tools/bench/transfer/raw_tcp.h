// A plain TCP connection over loopback to another process: what transfers by TCP are compared with.
//
// A child process serves: it is made by Start, before this process has other threads, and ends with
// the connection.
//
// Thread   one at a time
// Errors   Unavailable: a system call failed, or the child has gone
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cistern::tools {

class RawTcp {
 public:
  static absl::StatusOr<std::unique_ptr<RawTcp>> Start();
  ~RawTcp();

  // One request, one reply, on blocking sockets as they come: `into.size()` bytes here, or
  // `from.size()` bytes there and a word back.
  absl::Status Fetch(std::span<std::byte> into);
  absl::Status Publish(std::span<const std::byte> from);

  // `count` pieces of `piece` bytes one way, without a pause, both ends spinning on their socket;
  // towards here, or away. `next` gives the memory for each.
  absl::Status StreamHere(uint32_t count, uint64_t piece,
                          const std::function<std::span<std::byte>()>& next);
  absl::Status StreamAway(uint32_t count, uint64_t piece,
                          const std::function<std::span<std::byte>()>& next);

 private:
  RawTcp(int fd, pid_t child) : fd_(fd), child_(child) {}

  const int fd_;
  const pid_t child_;
};

}  // namespace cistern::tools
