#include "tools/bench/pools/block_pool.h"

namespace cistern::tools {

BlockPool::BlockPool(uint32_t num_blocks, uint32_t max_blocks, uint32_t num_requests)
    : num_blocks_(num_blocks),
      block_links_(max_blocks),
      owner_(max_blocks, kNobody),
      held_(num_requests),
      request_links_(num_requests) {
  for (uint32_t block = num_blocks; block-- > 0;) PushFree(block);
}

void BlockPool::PushFree(uint32_t block) {
  free_.Push(block_links_, block, top_);
  ++num_free_;
}

bool BlockPool::Take(uint32_t request, uint32_t count, std::vector<uint32_t>* taken) {
  if (count > num_free_) return false;
  IndexList& held = held_[request];
  if (!held.empty()) recent_.Remove(request_links_, request);
  recent_.Push(request_links_, request);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t block = free_.end[top_];
    free_.Remove(block_links_, block);
    held.Push(block_links_, block);
    owner_[block] = request;
    if (taken != nullptr) taken->push_back(block);
  }
  num_free_ -= count;
  operations_ += count;
  return true;
}

void BlockPool::Give(uint32_t block) {
  const uint32_t request = owner_[block];
  held_[request].Remove(block_links_, block);
  if (held_[request].empty()) recent_.Remove(request_links_, request);
  owner_[block] = kNobody;
  PushFree(block);
  ++operations_;
}

void BlockPool::GiveAll(uint32_t request) {
  while (!held_[request].empty()) Give(held_[request].end[0]);
}

bool BlockPool::Resize(uint32_t num_blocks) {
  if (num_blocks > owner_.size()) return false;
  for (uint32_t block = num_blocks; block < num_blocks_; ++block) {
    if (owner_[block] != kNobody) return false;
  }
  for (uint32_t block = num_blocks; block < num_blocks_; ++block) {
    free_.Remove(block_links_, block);
    --num_free_;
  }
  for (uint32_t block = num_blocks_; block < num_blocks; ++block) PushFree(block);
  num_blocks_ = num_blocks;
  return true;
}

}  // namespace cistern::tools
