#include "storage/pool/page_table.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::storage {

PageTable::PageTable(Arena* arena)
    : arena_(arena),
      max_handles_(arena->num_handles()),
      available_(max_handles_ - 1),
      rows_(1, available_) {
  entries_.reserve(max_handles_);
  entries_.push_back({.slab = kRetired});
}

Handle PageTable::Bind(uint32_t count) {
  const std::optional<uint64_t> first = rows_.Take(count, /*slab=*/0);
  if (!first.has_value()) return kNoHandle;
  const uint64_t end = *first + count;
  if (entries_.size() < end) entries_.resize(end, {.slab = kRetired});
  return static_cast<Handle>(*first);
}

void PageTable::Name(Handle handle, uint32_t slab, uint32_t index) {
  entries_[handle] = PageEntry{.index = index, .slab = slab};
  --available_;
  ++live_;
}

bool PageTable::RaiseGeneration(Handle handle) {
  const uint32_t generation = arena_->BumpGeneration(handle);
  entries_[handle] = PageEntry{.slab = kRetired};
  --live_;
  if (generation == std::numeric_limits<uint32_t>::max())
    return false;  // another turn would repeat a number
  ++available_;
  return true;
}

bool PageTable::RetireBound(Handle handle) { return RaiseGeneration(handle); }

void PageTable::Loosen(Handle first, uint32_t count) {
  for (Handle handle = first; handle < first + count; ++handle) {
    const bool worn = arena_->generation(handle) == std::numeric_limits<uint32_t>::max();
    if (!IsLive(handle) && !worn) Enqueue(handle);
  }
}

Handle PageTable::Mint(uint32_t slab, uint32_t index) {
  if (free_head_ == kNoHandle) {
    const auto count =
        static_cast<uint32_t>(std::min<uint64_t>(kSinglesAtOnce, rows_.largest_free()));
    if (count == 0) return kNoHandle;
    Loosen(Bind(count), count);
  }
  const Handle handle = free_head_;
  free_head_ = entries_[handle].owner;
  if (free_head_ == kNoHandle) free_tail_ = kNoHandle;
  --singles_free_;
  Name(handle, slab, index);
  return handle;
}

void PageTable::Retire(Handle handle) {
  if (RaiseGeneration(handle)) Enqueue(handle);
}

void PageTable::Enqueue(Handle handle) {
  if (free_tail_ == kNoHandle) {
    free_head_ = handle;
  } else {
    entries_[free_tail_].owner = handle;
  }
  free_tail_ = handle;
  ++singles_free_;
}

absl::Status PageTable::CheckInvariants(uint64_t bound_free) const {
  CISTERN_RETURN_IF_ERROR(rows_.CheckInvariants());
  if (rows_.free_bytes() + singles_free_ + bound_free != available_)
    return absl::InternalError("page table: the handles that may be used do not add up");
  if (uint64_t{available_} + live_ >= max_handles_)
    return absl::InternalError("page table: there are more handles than there can be");
  return absl::OkStatus();
}

bool PageTable::IsLive(Handle handle) const {
  return handle != kNoHandle && handle < entries_.size() && entries_[handle].slab != kRetired;
}

absl::Status PageTable::Check(Handle handle, uint32_t generation) const {
  if (handle == kNoHandle || handle >= max_handles_) {
    return absl::InvalidArgumentError(
        absl::StrCat("block handle ", handle, " is outside the page table"));
  }
  if (!IsLive(handle) || arena_->generation(handle) != generation) {
    return absl::FailedPreconditionError(
        absl::StrCat("block handle ", handle, " of generation ", generation, " has been freed"));
  }
  return absl::OkStatus();
}

}  // namespace cistern::storage
