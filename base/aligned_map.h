// Mappings of files that the kernel can give huge pages to: those want addresses and file offsets
// that agree modulo 2 MiB, which mmap by itself does not look for in shared memory.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <sys/mman.h>

namespace cistern::base {

inline constexpr size_t kHugePageBytes = 2 << 20;

// mmap of the first `bytes` of `fd`, at a multiple of 2 MiB when it is as long as that. MAP_FAILED
// and errno as mmap gives them. To be unmapped by munmap of `bytes`.
inline void* MapAligned(size_t bytes, int protection, int flags, int fd) {
  if (bytes < kHugePageBytes) return mmap(nullptr, bytes, protection, flags, fd, 0);
  const size_t reserved = bytes + kHugePageBytes;  // both in pages, as `bytes` counts
  void* const space =
      mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return MAP_FAILED;
  char* const begin = static_cast<char*>(space);
  const size_t past = reinterpret_cast<uintptr_t>(begin) % kHugePageBytes;
  char* const at = past == 0 ? begin : begin + (kHugePageBytes - past);
  void* const mapped = mmap(at, bytes, protection, flags | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    munmap(space, reserved);
    errno = error;
    return MAP_FAILED;
  }
  constexpr size_t kPage = 4096;
  char* const end = at + (bytes + kPage - 1) / kPage * kPage;
  char* const all_end = begin + (reserved + kPage - 1) / kPage * kPage;
  if (at > begin) munmap(begin, static_cast<size_t>(at - begin));
  if (all_end > end) munmap(end, static_cast<size_t>(all_end - end));
  return mapped;
}

}  // namespace cistern::base
