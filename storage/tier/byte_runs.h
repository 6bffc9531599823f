// Payload that lies in several runs of memory (an object's blocks), seen as one sequence of bytes.
//
// Thread   one; the runs outlive the cursor
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
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

}  // namespace cistern::storage
