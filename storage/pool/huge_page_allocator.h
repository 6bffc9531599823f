// Memory for large tables that are read at random: address space for all of it at once, touched as
// it is used, in huge pages where the kernel grants them to those who ask (madvise).
//
// A vector that reserves its most with it never copies itself to grow, and a read at random misses
// the TLB far less: 10^7 page table entries are 160 MB, 40,000 pages of 4 KiB or 80 of 2 MiB.
//
// Errors   std::bad_alloc, as of any allocator, when there is no address space
#pragma once

#include <cstddef>
#include <limits>
#include <new>

#include <sys/mman.h>

namespace cistern::storage {

template <typename T>
struct HugePageAllocator {
  using value_type = T;
  static constexpr size_t kWorthwhileBytes = 16u << 20;  // below it, plain memory

  HugePageAllocator() = default;
  template <typename U>
  explicit HugePageAllocator(const HugePageAllocator<U>&) noexcept {}

  T* allocate(size_t count) {
    if (count > std::numeric_limits<size_t>::max() / sizeof(T)) throw std::bad_alloc();
    const size_t bytes = count * sizeof(T);
    if (bytes < kWorthwhileBytes) return static_cast<T*>(::operator new(bytes));
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    madvise(memory, bytes, MADV_HUGEPAGE);  // a wish; small pages serve as well
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) noexcept {
    const size_t bytes = count * sizeof(T);
    if (bytes < kWorthwhileBytes) {
      ::operator delete(memory);
    } else {
      munmap(memory, bytes);
    }
  }
  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }
};

}  // namespace cistern::storage
