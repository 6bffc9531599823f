#include "storage/pool/page_table.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace cistern::storage {

PageTable::PageTable(Arena* arena)
    : arena_(arena), max_handles_(arena->num_handles()), available_(max_handles_ - 1) {
  entries_.reserve(max_handles_);
  entries_.emplace_back();
  entries_[0].slab = kRetired;
}

Handle PageTable::Mint(uint32_t slab, uint32_t index) {
  if (available_ == 0) return kNoHandle;
  Handle handle = free_head_;
  if (handle != kNoHandle) {
    free_head_ = entries_[handle].owner;
    if (free_head_ == kNoHandle) free_tail_ = kNoHandle;
  } else {
    handle = static_cast<Handle>(entries_.size());
    entries_.emplace_back();
  }
  entries_[handle] = PageEntry{.index = index, .slab = slab};
  --available_;
  ++live_;
  return handle;
}

void PageTable::Retire(Handle handle) {
  const uint32_t generation = arena_->BumpGeneration(handle);
  entries_[handle] = PageEntry{.owner = kNoHandle, .slab = kRetired};
  --live_;
  if (generation == std::numeric_limits<uint32_t>::max())
    return;  // another turn would repeat a number
  if (free_tail_ == kNoHandle) {
    free_head_ = handle;
  } else {
    entries_[free_tail_].owner = handle;
  }
  free_tail_ = handle;
  ++available_;
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
