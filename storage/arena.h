// One piece of memory that every pool of a node shares: a memfd that workers on the same host can
// map read-only.
//
// It begins with an ArenaHeader and the table of generations (base/arena_layout.h); slabs follow.
// The memfd is sealed (F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE): whoever receives the
// descriptor can map it only read-only. Huge pages are asked for where the kernel allows; pages are
// touched at the start, so that no fetch pays for it.
//
// Thread   Create and destruction: one. BumpGeneration, PublishGenerations: the store's. Else: any
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"

#include "base/arena_layout.h"

namespace cistern::storage {

struct ArenaOptions {
  uint64_t bytes = 1ull << 30;  // of slabs, rounded up to whole pages; header and table come on top
  uint32_t max_handles = 0;     // 0: one per 4 KiB of slab bytes, at most 2^28
  uint64_t incarnation = 0;
  bool huge_pages = true;
  bool pre_touch = true;  // false in tests: pages come when they are first written
};

class Arena {
 public:
  // InvalidArgument: no bytes, or more than an address space holds. ResourceExhausted: the memory
  // is not there; the message says how much was asked for and how much there is.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(const ArenaOptions& options);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  int fd() const { return fd_; }
  std::byte* data() const { return data_; }  // the mapping's first byte
  uint64_t mapped_bytes() const { return mapped_bytes_; }
  const base::ArenaHeader& header() const {
    return *reinterpret_cast<const base::ArenaHeader*>(data_);
  }

  std::byte* At(uint64_t offset) const { return data_ + offset; }
  uint64_t slabs_offset() const { return header().slabs_offset; }
  uint64_t slab_bytes_total() const { return mapped_bytes_ - slabs_offset(); }
  uint32_t num_handles() const { return header().num_handles; }

  // Raises a handle's generation.
  uint32_t BumpGeneration(uint32_t handle);
  // What was raised can be seen before anything that the caller writes afterwards, non-temporal
  // stores too: a reader that copied the new bytes sees the new number.
  static void PublishGenerations();
  // BumpGeneration is about to be called: asks for its memory.
  void PrefetchGeneration(uint32_t handle) const {
    __builtin_prefetch(data_ + header().table_offset + handle * sizeof(uint32_t), 1);
  }
  uint32_t generation(uint32_t handle) const;

 private:
  Arena(int fd, std::byte* data, uint64_t mapped_bytes)
      : fd_(fd), data_(data), mapped_bytes_(mapped_bytes) {}

  int fd_;
  std::byte* data_;
  uint64_t mapped_bytes_;
};

}  // namespace cistern::storage
