// One file of payload: whole reads and writes at an offset, past the page cache where that is
// possible.
//
// Where alignment() is not 1, memory and lengths are multiples of it, and offsets are those of
// extents and pieces.
//
// Thread   any
// Errors   ResourceExhausted: the disk is full. NotFound: no such file. DataLoss: it ends before
//          what was asked for. Unavailable: any other error of the system
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/tier/disk_calls.h"

namespace cistern::storage {

// The one place where errno becomes a Status. `doing` begins the text, e.g. "writing payload".
absl::Status FromErrno(int error, absl::string_view doing, const std::string& path);

class PayloadFile {
 public:
  struct Options {
    uint32_t alignment = 1;  // of direct I/O; 1: through the page cache
    DiskCalls* calls = nullptr;
  };
  static absl::StatusOr<std::shared_ptr<PayloadFile>> Create(const std::string& path,
                                                             const Options& options);
  static absl::StatusOr<std::shared_ptr<PayloadFile>> Open(const std::string& path,
                                                           const Options& options);
  ~PayloadFile();
  PayloadFile(const PayloadFile&) = delete;
  PayloadFile& operator=(const PayloadFile&) = delete;

  uint32_t alignment() const { return options_.alignment; }
  const std::string& path() const { return path_; }

  absl::Status Write(const std::vector<std::span<const std::byte>>& parts, uint64_t offset) const;
  // At least `wanted` bytes; what lies beyond them may be missing.
  absl::Status Read(const std::vector<std::span<std::byte>>& parts, uint64_t wanted,
                    uint64_t offset) const;
  absl::Status Sync() const;
  // OK also where the file system cannot promise room.
  absl::Status Allocate(uint64_t offset, uint64_t bytes) const;
  absl::Status PunchHole(uint64_t offset, uint64_t bytes) const;
  absl::Status Truncate(uint64_t bytes) const;

  absl::StatusOr<uint64_t> Bytes() const;
  // Whether all of it was written and none given back, as far as the file system tells.
  bool IsWhole(uint64_t offset, uint64_t bytes) const;
  // Whether nothing was written there; there may be room all the same.
  bool IsHole(uint64_t offset, uint64_t bytes) const;

 private:
  PayloadFile(std::string path, int fd, const Options& options)
      : path_(std::move(path)), fd_(fd), options_(options) {}
  static absl::StatusOr<std::shared_ptr<PayloadFile>> OpenWith(const std::string& path, int flags,
                                                               const Options& options);

  const std::string path_;
  const int fd_;
  const Options options_;
};

}  // namespace cistern::storage
