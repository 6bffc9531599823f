#include "tools/bench/pools/product_policy.h"

#include <chrono>
#include <utility>

#include "base/status_macros.h"

namespace cistern::tools {
namespace {

// A block's owner as the pools keep it, never 0: the request and which of its blocks it is.
uint64_t OwnerOf(uint32_t request, size_t index) { return (uint64_t{request} + 1) << 32 | index; }
uint32_t RequestOf(uint64_t owner) { return static_cast<uint32_t>((owner >> 32) - 1); }
uint32_t IndexOf(uint64_t owner) { return static_cast<uint32_t>(owner); }

}  // namespace

absl::StatusOr<std::unique_ptr<ProductPolicy>> ProductPolicy::Create(const PolicyOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(
      std::unique_ptr<storage::Arena> arena,
      storage::Arena::Create(
          {.bytes = options.total_bytes, .huge_pages = false, .pre_touch = false}));
  std::unique_ptr<ProductPolicy> policy(new ProductPolicy(options, std::move(arena)));
  for (const BlockKind kind : {BlockKind::kPage, BlockKind::kState}) {
    CISTERN_ASSIGN_OR_RETURN(policy->pool_of_[static_cast<int>(kind)],
                             policy->pools_.PoolFor(options.model.bytes(kind)));
  }
  return policy;
}

uint32_t ProductPolicy::Take(uint32_t request, storage::PoolId pool, uint32_t count) {
  std::vector<storage::Handle>& handles = handles_[request];
  const size_t first = handles.size();
  const uint32_t taken = pools_.Allocate(pool, count, &handles);
  for (size_t i = first; i < handles.size(); ++i) {
    pools_.SetOwner(handles[i], OwnerOf(request, i));
    pools_.SetMovable(handles[i], true);
  }
  operations_ += taken;
  return taken;
}

bool ProductPolicy::MakeRoom(storage::PoolId pool) {
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t moved = pools_.GatherRoom(pool, [&](storage::Handle from, storage::Handle to) {
    const uint64_t owner = pools_.table().at(from).owner;
    handles_[RequestOf(owner)][IndexOf(owner)] = to;
  });
  rebalance_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  moved_bytes_ += moved;
  return moved > 0;
}

bool ProductPolicy::Allocate(uint32_t request, BlockKind kind, uint32_t count) {
  const storage::PoolId pool = pool_of_[static_cast<int>(kind)];
  uint32_t taken = Take(request, pool, count);
  while (taken < count && MakeRoom(pool)) taken += Take(request, pool, count - taken);
  if (taken == count) return true;
  for (uint32_t i = 0; i < taken; ++i) {
    pools_.Free(handles_[request].back());
    handles_[request].pop_back();
  }
  operations_ += taken;
  return false;
}

void ProductPolicy::Release(uint32_t request) {
  for (const storage::Handle handle : handles_[request]) pools_.Free(handle);
  operations_ += handles_[request].size();
  handles_[request].clear();
}

}  // namespace cistern::tools
