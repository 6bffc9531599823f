// Memory for measuring: touched, in huge pages where the kernel gives them, and a way to empty the
// CPU's caches of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cistern::tools {

// Zeroed and touched once; std::bad_alloc when there is none.
class Memory {
 public:
  explicit Memory(uint64_t bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* data() const { return data_; }
  uint64_t size() const { return bytes_; }

 private:
  const uint64_t bytes_;
  std::byte* data_ = nullptr;
};

// One pass: the sum of the bytes' 64-bit words (8 at a time; the tail byte by byte). As fast as
// memory delivers.
uint64_t ReadOnce(std::span<const std::byte> bytes);

// Reads a region several times as large as the last-level cache. What it leaves there is clean:
// nobody pays for writing it back.
class CacheSweep {
 public:
  CacheSweep();
  void Sweep();

 private:
  Memory region_;
};

// Pieces of a region in a random order, each once before the first comes again: as scattered as
// objects of that size lie in a pool, so that no prefetcher knows the next one.
class Ring {
 public:
  Ring(uint64_t region_bytes, uint64_t piece_bytes);
  std::span<std::byte> Next();

 private:
  const uint64_t piece_bytes_;
  Memory memory_;
  std::vector<uint64_t> offsets_;
  size_t next_ = 0;
};

}  // namespace cistern::tools
