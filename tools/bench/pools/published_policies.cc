#include "tools/bench/pools/published_policies.h"

#include <algorithm>

namespace cistern::tools {
namespace {

uint32_t Blocks(uint64_t bytes, uint64_t block_bytes) {
  return static_cast<uint32_t>(bytes / block_bytes);
}

BlockPool PaddedPool(const PolicyOptions& options) {
  const uint32_t blocks =
      Blocks(options.total_bytes, std::max(options.model.page_bytes, options.model.state_bytes));
  return BlockPool(blocks, blocks, options.num_requests);
}

}  // namespace

PaddedPolicy::PaddedPolicy(const PolicyOptions& options)
    : evict_(options.evict),
      pool_(PaddedPool(options)),
      numbers_(options.num_requests),
      damaged_(options.num_requests) {}

bool PaddedPolicy::Allocate(uint32_t request, BlockKind, uint32_t count) {
  if (pool_.Take(request, count, &numbers_[request])) return true;
  if (!evict_) return false;
  if (const uint32_t victim = pool_.Oldest(); victim != kNobody) {
    ++live_evictions_;
    damaged_[victim] = true;
    pool_.GiveAll(victim);
  }
  return pool_.Take(request, count, &numbers_[request]);
}

void PaddedPolicy::Release(uint32_t request) {
  for (const uint32_t block : numbers_[request]) {
    const uint32_t owner = pool_.owner(block);
    if (owner == kNobody) continue;
    if (owner != request) damaged_[owner] = true;
    pool_.Give(block);
  }
  numbers_[request].clear();
}

SplitPolicy::SplitPolicy(const PolicyOptions& options, double state_ratio, uint32_t batch)
    : model_(options.model),
      evict_(options.evict),
      batch_(batch),
      pools_([&]() -> std::array<BlockPool, 2> {
        const auto state_bytes =
            static_cast<uint64_t>(static_cast<double>(options.total_bytes) * state_ratio);
        const uint64_t page = options.model.page_bytes, state = options.model.state_bytes;
        const uint64_t all = options.total_bytes;
        return {BlockPool(Blocks(all - state_bytes, page), Blocks(all, page), options.num_requests),
                BlockPool(Blocks(state_bytes, state), Blocks(all, state), options.num_requests)};
      }()),
      damaged_(options.num_requests) {}

bool SplitPolicy::Try(BlockPool& pool, uint32_t request, uint32_t count) {
  if (pool.Take(request, count)) return true;
  pool.ReverseFree();
  return false;
}

bool SplitPolicy::Allocate(uint32_t request, BlockKind kind, uint32_t count) {
  BlockPool& pool = pools_[static_cast<int>(kind)];
  if (Try(pool, request, count)) return true;
  if (evict_) {
    if (const uint32_t victim = pool.Oldest(); victim != kNobody) {
      ++live_evictions_;
      damaged_[victim] = true;
      pool.GiveAll(victim);
    }
    if (Try(pool, request, count)) return true;
  }
  return batch_ > 0 && Migrate(static_cast<int>(kind)) && Try(pool, request, count);
}

bool SplitPolicy::Migrate(int recipient) {
  BlockPool& from = pools_[1 - recipient];
  BlockPool& to = pools_[recipient];
  const uint64_t to_bytes = recipient == 0 ? model_.page_bytes : model_.state_bytes;
  const uint64_t bytes =
      uint64_t{batch_} * (recipient == 0 ? model_.state_bytes : model_.page_bytes);
  const uint32_t before = from.num_blocks();
  if (before < batch_ || !from.Resize(before - batch_)) return false;
  to.Resize(to.num_blocks() + Blocks(bytes, to_bytes));  // it gains what the other lost, or less
  ++migrations_;
  moved_bytes_ += bytes;
  wasted_bytes_ += bytes % to_bytes;
  return true;
}

void SplitPolicy::Release(uint32_t request) {
  for (BlockPool& pool : pools_) pool.GiveAll(request);
}

bool SplitPolicy::MayFit(const Footprint& footprint) const {
  const uint64_t pages = pools_[0].num_free(), states = pools_[1].num_free();
  if (batch_ == 0) return footprint.pages <= pages && footprint.states <= states;
  return footprint.bytes(model_) <= pages * model_.page_bytes + states * model_.state_bytes;
}

PolicyCounts SplitPolicy::counts() const {
  return {.operations = pools_[0].operations() + pools_[1].operations(),
          .live_evictions = live_evictions_,
          .moved_bytes = moved_bytes_};
}

bool SharedPolicy::Allocate(uint32_t request, BlockKind kind, uint32_t count) {
  const uint64_t bytes = count * model_.bytes(kind);
  if (bytes > free_bytes_) return false;
  free_bytes_ -= bytes;
  held_[request].bytes += bytes;
  held_[request].blocks += count;
  operations_ += count;
  return true;
}

void SharedPolicy::Release(uint32_t request) {
  free_bytes_ += held_[request].bytes;
  operations_ += held_[request].blocks;
  held_[request] = {};
}

}  // namespace cistern::tools
