#include "storage/pool/extent_map.h"

#include <iterator>

#include "absl/strings/str_cat.h"

namespace cistern::storage {

ExtentMap::ExtentMap(uint64_t offset, uint64_t bytes) : begin_(offset), bytes_(bytes) {
  if (bytes > 0) AddFree(offset, bytes);
}

void ExtentMap::AddFree(uint64_t offset, uint64_t bytes) {
  extents_[offset] = Extent{.bytes = bytes, .slab = kFreeExtent};
  free_.emplace(bytes, offset);
  free_bytes_ += bytes;
}

void ExtentMap::RemoveFree(uint64_t offset, uint64_t bytes) {
  extents_.erase(offset);
  free_.erase({bytes, offset});
  free_bytes_ -= bytes;
}

std::optional<uint64_t> ExtentMap::Take(uint64_t bytes, SlabId slab) {
  const auto fit = free_.lower_bound({bytes, 0});
  if (fit == free_.end()) return std::nullopt;
  const auto [have, offset] = *fit;
  RemoveFree(offset, have);
  extents_[offset] = Extent{.bytes = bytes, .slab = slab};
  if (have > bytes) AddFree(offset + bytes, have - bytes);
  return offset;
}

void ExtentMap::Give(uint64_t offset) {
  auto it = extents_.find(offset);
  uint64_t bytes = it->second.bytes;
  uint64_t begin = offset;
  if (const auto next = std::next(it); next != extents_.end() && next->second.slab == kFreeExtent) {
    bytes += next->second.bytes;
    RemoveFree(next->first, next->second.bytes);
    it = extents_.find(offset);  // a B-tree's iterators do not survive an erase
  }
  if (it != extents_.begin()) {
    const auto previous = std::prev(it);
    if (previous->second.slab == kFreeExtent) {
      begin = previous->first;
      bytes += previous->second.bytes;
      RemoveFree(previous->first, previous->second.bytes);
    }
  }
  extents_.erase(offset);
  AddFree(begin, bytes);
}

void ExtentMap::Hold(uint64_t offset) {
  const Extent extent = extents_.find(offset)->second;
  if (extent.slab == kFreeExtent) RemoveFree(offset, extent.bytes);
  extents_[offset] = Extent{.bytes = extent.bytes, .slab = kHeldExtent};
}

absl::Status ExtentMap::CheckInvariants() const {
  uint64_t at = begin_;
  uint64_t free_bytes = 0;
  size_t free_extents = 0;
  bool previous_free = false;
  for (const auto& [offset, extent] : extents_) {
    if (offset != at || extent.bytes == 0) {
      return absl::InternalError(
          absl::StrCat("extents: expected one at ", at, ", found one at ", offset));
    }
    const bool is_free = extent.slab == kFreeExtent;
    if (is_free && previous_free) {
      return absl::InternalError(absl::StrCat("extents: two free neighbours at ", offset));
    }
    if (is_free) {
      free_bytes += extent.bytes;
      ++free_extents;
      if (!free_.contains({extent.bytes, offset})) {
        return absl::InternalError(
            absl::StrCat("extents: the free one at ", offset, " is not listed by size"));
      }
    }
    previous_free = is_free;
    at += extent.bytes;
  }
  if (at != begin_ + bytes_)
    return absl::InternalError("extents: they do not reach the arena's end");
  if (free_bytes != free_bytes_ || free_extents != free_.size()) {
    return absl::InternalError("extents: the free bytes are counted wrongly");
  }
  return absl::OkStatus();
}

}  // namespace cistern::storage
