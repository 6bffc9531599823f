#include "storage/arena.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/aligned_map.h"
#include "base/round.h"
#include "base/status_macros.h"
#include "base/units.h"

// Newer than some C libraries' headers; the numbers are the kernel's
// (include/uapi/asm-generic/mman-common.h).
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace cistern::storage {
namespace {

constexpr uint64_t kSmallPage = 4096;
constexpr uint64_t kHugePage = 2ull << 20;
constexpr uint64_t kTableOffset = kSmallPage;
constexpr uint64_t kBytesPerHandle = 4096;
constexpr uint64_t kMaxHandles = 1ull << 28;
constexpr uint64_t kMaxBytes = 1ull << 46;  // x86-64 gives a process 2^47
constexpr unsigned kMaxTouchThreads = 16;
constexpr uint64_t kTouchPiece = 64ull << 20;  // bytes that one thread asks for at a time

// What the machine could still give, or the largest number when nobody says.
uint64_t AvailableMemoryBytes() {
  uint64_t kib = 0;
  FILE* file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) return std::numeric_limits<uint64_t>::max();
  char line[128];
  bool found = false;
  while (!found && std::fgets(line, sizeof(line), file) != nullptr) {
    found = std::sscanf(line, "MemAvailable: %lu kB", &kib) == 1;
  }
  std::fclose(file);
  return found ? kib << 10 : std::numeric_limits<uint64_t>::max();
}

absl::Status NotEnough(uint64_t wanted_bytes, absl::string_view why) {
  return absl::ResourceExhaustedError(
      absl::StrCat("an arena of ", base::FormatBytes(wanted_bytes), " cannot be had: ", why,
                   "; choose a smaller pool or free memory on this machine"));
}

// Brings [begin, begin + bytes) in as huge pages, where the kernel has them: one small page of each
// (a kernel whose shmem_enabled says so gives a huge one at once), then the rest by collapsing,
// which needs a page to begin with and clears what is missing. 2 GiB took 0.15 to 0.25 s of two
// threads in memory that the host has given to the virtual machine before, 3 to 7 s in memory that
// it has not; in small pages 1.3 s. Collapsed after they have been populated, all bytes would be
// copied. A wish: Touch sees to what is not there.
void Collapse(std::byte* begin, uint64_t bytes) {
  for (uint64_t i = 0; i + kHugePage <= bytes; i += kHugePage) {
    if (madvise(begin + i, kSmallPage, MADV_POPULATE_WRITE) != 0) return;
  }
  madvise(begin, bytes, MADV_COLLAPSE);
}

// Makes every page of [begin, begin + bytes) present. One thread faults 0.3 to 0.8 GB/s on a small
// virtual machine and two nearly twice that; asking the kernel for ranges is 1.5 times faster than
// touching page by page.
int Touch(std::byte* begin, uint64_t bytes, bool huge_pages) {
  const uint64_t pieces = (bytes + kTouchPiece - 1) / kTouchPiece;
  const unsigned threads = static_cast<unsigned>(std::min<uint64_t>(
      {std::max(1u, std::thread::hardware_concurrency()), kMaxTouchThreads, pieces}));
  std::atomic<uint64_t> next{0};
  std::atomic<int> error{0};
  auto work = [&] {
    for (uint64_t piece; error.load() == 0 && (piece = next.fetch_add(1)) < pieces;) {
      std::byte* at = begin + piece * kTouchPiece;
      const uint64_t n = std::min(kTouchPiece, bytes - piece * kTouchPiece);
      if (huge_pages) Collapse(at, n);
      if (madvise(at, n, MADV_POPULATE_WRITE) == 0) continue;
      if (errno != EINVAL) {
        error.store(errno);
        return;
      }
      for (uint64_t i = 0; i < n; i += kSmallPage) {  // a kernel before 5.14
        *reinterpret_cast<volatile std::byte*>(at + i) = std::byte{0};
      }
    }
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  return error.load();
}

struct Sizes {
  uint32_t num_handles;
  uint64_t slabs_offset;
  uint64_t mapped_bytes;
};

absl::StatusOr<Sizes> Plan(const ArenaOptions& options) {
  if (options.bytes == 0) return absl::InvalidArgumentError("an arena needs at least one byte");
  if (options.bytes > kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat("an arena of ", options.bytes,
                                                   " bytes: at most ", base::FormatBytes(kMaxBytes),
                                                   " can be mapped"));
  }
  const uint64_t slab_bytes = base::RoundUp(options.bytes, kSmallPage);
  uint64_t handles = options.max_handles;
  if (handles == 0) handles = std::min(slab_bytes / kBytesPerHandle, kMaxHandles);
  handles = std::min<uint64_t>(handles, std::numeric_limits<uint32_t>::max() - 1) +
            1;  // handle 0 names nothing
  const uint64_t unit = slab_bytes >= kHugePage ? kHugePage : kSmallPage;
  Sizes sizes;
  sizes.num_handles = static_cast<uint32_t>(handles);
  sizes.slabs_offset = base::RoundUp(kTableOffset + handles * sizeof(uint32_t), unit);
  sizes.mapped_bytes = sizes.slabs_offset + slab_bytes;
  return sizes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(const ArenaOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(const Sizes sizes, Plan(options));
  if (options.pre_touch) {
    const uint64_t available = AvailableMemoryBytes();
    if (sizes.mapped_bytes > available) {
      return NotEnough(sizes.mapped_bytes,
                       absl::StrCat(base::FormatBytes(available), " are available"));
    }
  }
  const int fd = memfd_create("cistern-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return NotEnough(sizes.mapped_bytes, absl::StrCat("memfd_create: ", strerror(errno)));
  std::unique_ptr<Arena> arena(new Arena(fd, nullptr, 0));
  if (ftruncate(fd, static_cast<off_t>(sizes.mapped_bytes)) != 0) {
    return NotEnough(sizes.mapped_bytes, absl::StrCat("ftruncate: ", strerror(errno)));
  }
  void* mapping = base::MapAligned(sizes.mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  if (mapping == MAP_FAILED)
    return NotEnough(sizes.mapped_bytes, absl::StrCat("mmap: ", strerror(errno)));
  auto* data = static_cast<std::byte*>(mapping);
  arena->data_ = data;
  arena->mapped_bytes_ = sizes.mapped_bytes;
  // From here on this mapping is the only one that can write.
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the arena cannot be sealed (", strerror(errno), "): Linux 5.1 or newer is needed"));
  }
  // Both are wishes: a kernel that says no gives small pages.
  if (options.huge_pages) madvise(data, sizes.mapped_bytes, MADV_HUGEPAGE);
  if (options.pre_touch) {
    if (const int error = Touch(data, sizes.mapped_bytes, options.huge_pages); error != 0) {
      return NotEnough(sizes.mapped_bytes, absl::StrCat("touching its pages: ", strerror(error)));
    }
  }
  *reinterpret_cast<base::ArenaHeader*>(data) = {
      .magic = base::kArenaMagic,
      .version = base::kArenaVersion,
      .num_handles = sizes.num_handles,
      .incarnation = options.incarnation,
      .arena_bytes = sizes.mapped_bytes,
      .table_offset = kTableOffset,
      .slabs_offset = sizes.slabs_offset,
  };
  return arena;
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, mapped_bytes_);
  close(fd_);
}

uint32_t Arena::generation(uint32_t handle) const { return base::ReadGeneration(data_, handle); }

uint32_t Arena::BumpGeneration(uint32_t handle) {
  auto* table = reinterpret_cast<uint32_t*>(data_ + header().table_offset);
  const uint32_t next =
      __atomic_load_n(&table[handle], __ATOMIC_RELAXED) + 1;  // nobody else writes
  __atomic_store_n(&table[handle], next, __ATOMIC_RELEASE);
  return next;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored \
    "-Wtsan"  // the fence is for readers in other processes, which TSan does not see
#endif

void Arena::PublishGenerations() { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace cistern::storage
