// Mappings of files that the kernel can give huge pages to: those want addresses and file offsets
// that agree modulo 2 MiB, which mmap by itself does not look for in shared memory.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <sys/mman.h>

namespace cistern::base {

inline constexpr size_t kHugePageBytes = 2 << 20;

// mmap of the first `bytes` of `fd`, at a multiple of 2 MiB when it is as long as that and nobody
// takes the place meanwhile. MAP_FAILED and errno as mmap gives them. To be unmapped by munmap of
// `bytes`.
//
// A place is looked for, let go and asked for again: MAP_FIXED over a reservation would be simpler,
// but older kernels take the reservation away before they refuse a sealed file, and what was mapped
// into the gap by then would be unmapped with the rest of it.
inline void* MapAligned(size_t bytes, int protection, int flags, int fd) {
  if (bytes < kHugePageBytes) return mmap(nullptr, bytes, protection, flags, fd, 0);
  const size_t reserved = bytes + kHugePageBytes;
  void* const space =
      mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return MAP_FAILED;
  munmap(space, reserved);
  char* const begin = static_cast<char*>(space);
  const size_t past = reinterpret_cast<uintptr_t>(begin) % kHugePageBytes;
  char* const at = past == 0 ? begin : begin + (kHugePageBytes - past);
  void* const mapped = mmap(at, bytes, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
  if (mapped != MAP_FAILED || errno != EEXIST) return mapped;
  return mmap(nullptr, bytes, protection, flags, fd, 0);
}

}  // namespace cistern::base
