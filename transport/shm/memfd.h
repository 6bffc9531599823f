// Memory that has a file descriptor, so that it can be given to another process: making, checking,
// mapping.
//
// The one who maps somebody else's memfd is safe from its owner as long as the file cannot shrink:
// a sealed size means that no access to the mapping can raise SIGBUS. Only plain memfds are taken:
// pages of a hugetlb file or of a disk's can fail to appear.
//
// Thread   any
// Errors   ResourceExhausted: no memory, descriptors or mappings left. InvalidArgument: a
//          descriptor that is not what it should be
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "transport/shm/unique_fd.h"

namespace cistern::transport {

// A mapping of a whole memfd; unmapped at the end.
class Mapping {
 public:
  enum class Access { kRead, kReadWrite };

  // `touch`: brings the pages in at once, so that the first use does not pay for them.
  static absl::StatusOr<std::shared_ptr<Mapping>> Map(int fd, uint64_t bytes, Access access,
                                                      bool touch = false);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* data() const { return data_; }  // written to only if mapped so
  uint64_t bytes() const { return bytes_; }

 private:
  Mapping(std::byte* data, uint64_t bytes) : data_(data), bytes_(bytes) {}

  std::byte* data_;
  uint64_t bytes_;
};

// `bytes` of zeros whose size is sealed. `name` shows in /proc.
absl::StatusOr<UniqueFd> CreateMemfd(const char* name, uint64_t bytes);

// InvalidArgument unless `fd` is a plain memfd of exactly `bytes` bytes that can never shrink.
absl::Status CheckMemfd(int fd, uint64_t bytes);

// InvalidArgument unless, besides, nobody who receives it can map it for writing, and nobody can
// grow it.
absl::Status CheckReadOnlyMemfd(int fd, uint64_t bytes);

}  // namespace cistern::transport
