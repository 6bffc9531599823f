// A small arena as a node would make it: a header, a table, slabs; sealed.
#pragma once

#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>

#include "base/arena_layout.h"
#include "transport/shm/memfd.h"

namespace cistern::transport {

inline base::ArenaHeader ArenaHeaderFor(uint64_t bytes, uint64_t incarnation) {
  return {.magic = base::kArenaMagic,
          .version = base::kArenaVersion,
          .num_handles = 16,
          .incarnation = incarnation,
          .arena_bytes = bytes,
          .table_offset = 4096,
          .slabs_offset = 8192};
}

struct TestArena {
  static constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;

  explicit TestArena(const base::ArenaHeader& header, int seals = kAllSeals,
                     uint64_t file_bytes = 0)
      : bytes(header.arena_bytes), fd(memfd_create("test-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    if (file_bytes == 0) file_bytes = bytes;
    [[maybe_unused]] const int sized = ftruncate(fd.get(), static_cast<off_t>(file_bytes));
    data = static_cast<std::byte*>(
        mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    mapped = file_bytes;
    memcpy(data, &header, sizeof(header));
    fcntl(fd.get(), F_ADD_SEALS, seals);
  }
  ~TestArena() { munmap(data, mapped); }

  uint64_t bytes;
  UniqueFd fd;
  std::byte* data = nullptr;
  uint64_t mapped = 0;
};

}  // namespace cistern::transport
