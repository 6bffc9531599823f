// Payload that lies in several runs of memory (an object's blocks), seen as one sequence of bytes.
//
// Thread   one; the runs outlive the cursor
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace cistern::storage {

template <typename Byte>
uint64_t TotalBytes(const std::vector<std::span<Byte>>& runs) {
  uint64_t bytes = 0;
  for (const auto& run : runs) bytes += run.size();
  return bytes;
}

// Walks over the runs. Bytes beyond the last run do not exist: the caller knows the total.
template <typename Byte>
class RunCursor {
 public:
  explicit RunCursor(const std::vector<std::span<Byte>>& runs) : runs_(runs) {}

  // The next bytes that lie together, at most `limit`; empty at the end.
  std::span<Byte> Next(uint64_t limit) {
    while (run_ < runs_.size() && offset_ == runs_[run_].size()) {
      ++run_;
      offset_ = 0;
    }
    if (run_ == runs_.size()) return {};
    const auto part =
        runs_[run_].subspan(offset_, std::min<uint64_t>(limit, runs_[run_].size() - offset_));
    offset_ += part.size();
    return part;
  }

 private:
  const std::vector<std::span<Byte>>& runs_;
  size_t run_ = 0;
  size_t offset_ = 0;
};

// The next `bytes` in one place: where they lie when they lie together, otherwise copied into
// `scratch`.
inline std::span<const std::byte> Gather(RunCursor<const std::byte>& cursor, uint64_t bytes,
                                         std::vector<std::byte>& scratch) {
  std::span<const std::byte> part = cursor.Next(bytes);
  if (part.size() == bytes) return part;
  if (scratch.size() < bytes) scratch.resize(bytes);
  uint64_t filled = 0;
  for (; !part.empty(); part = cursor.Next(bytes - filled)) {
    std::memcpy(scratch.data() + filled, part.data(), part.size());
    filled += part.size();
  }
  return std::span<const std::byte>(scratch).first(filled);
}

// Copies `bytes` to the next place.
inline void Scatter(RunCursor<std::byte>& cursor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::span<std::byte> part = cursor.Next(bytes.size());
    if (part.empty()) return;
    std::memcpy(part.data(), bytes.data(), part.size());
    bytes = bytes.subspan(part.size());
  }
}

}  // namespace cistern::storage
