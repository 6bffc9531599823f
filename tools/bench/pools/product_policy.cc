#include "tools/bench/pools/product_policy.h"

#include <chrono>
#include <utility>

#include "base/status_macros.h"

namespace cistern::tools {
namespace {

// A request runs for hundreds of ticks.
constexpr storage::SlabPredictorOptions kPrediction = {.window = absl::Milliseconds(500),
                                                       .horizon = absl::Milliseconds(100),
                                                       .interval = absl::Milliseconds(1)};

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProductPolicy>> ProductPolicy::Create(const PolicyOptions& options,
                                                                     bool predict) {
  CISTERN_ASSIGN_OR_RETURN(
      std::unique_ptr<storage::Arena> arena,
      storage::Arena::Create(
          {.bytes = options.total_bytes, .huge_pages = false, .pre_touch = false}));
  std::unique_ptr<ProductPolicy> policy(new ProductPolicy(options, std::move(arena)));
  if (predict) policy->predictor_.emplace(kPrediction);
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
    pools_.SetOwner(handles[i], owners_.New({request, static_cast<uint32_t>(i)}));
    pools_.SetMovable(handles[i], true);
  }
  counts_.operations += taken;
  Record(pool, taken);
  return taken;
}

void ProductPolicy::Record(storage::PoolId pool, int64_t blocks) {
  if (predictor_.has_value()) predictor_->Record(pool, blocks, now_);
}

uint64_t ProductPolicy::Gather(storage::PoolId pool) {
  const uint64_t moved = pools_.GatherRoom(pool, [&](storage::Handle from, storage::Handle to) {
    const BlockOwners::Block& block = owners_.at(pools_.table().at(from).owner);
    handles_[block.request][block.index] = to;
  });
  counts_.moved_bytes += moved;
  return moved;
}

bool ProductPolicy::MakeRoom(storage::PoolId pool) {
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t moved = Gather(pool);
  counts_.rebalance_seconds += SecondsSince(begin);
  if (moved > 0) ++counts_.rebalances;
  return moved > 0;
}

void ProductPolicy::Tick(uint64_t tick) {
  if (!predictor_.has_value()) return;
  const auto begin = std::chrono::steady_clock::now();
  now_ = absl::UnixEpoch() + absl::Milliseconds(tick);
  if (const auto need = predictor_->Next(pools_, now_)) {
    const uint64_t moved = Gather(need->pool);
    counts_.ahead_bytes += moved;
    if (moved == 0) predictor_->NoRoom(need->pool, now_);
  }
  counts_.ahead_seconds += SecondsSince(begin);
}

bool ProductPolicy::Allocate(uint32_t request, BlockKind kind, uint32_t count) {
  const storage::PoolId pool = pool_of_[static_cast<int>(kind)];
  uint32_t taken = Take(request, pool, count);
  while (taken < count && MakeRoom(pool)) taken += Take(request, pool, count - taken);
  if (taken == count) return true;
  for (uint32_t i = 0; i < taken; ++i) {
    owners_.Drop(pools_.table().at(handles_[request].back()).owner);
    pools_.Free(handles_[request].back());
    handles_[request].pop_back();
  }
  counts_.operations += taken;
  Record(pool, -int64_t{taken});
  return false;
}

void ProductPolicy::Release(uint32_t request) {
  if (predictor_.has_value()) {
    int64_t given[2] = {};
    for (const storage::Handle handle : handles_[request]) {
      ++given[pools_.PoolOf(handle) == pool_of_[0] ? 0 : 1];
    }
    for (int kind = 0; kind < 2; ++kind) Record(pool_of_[kind], -given[kind]);
  }
  for (const storage::Handle handle : handles_[request]) {
    owners_.Drop(pools_.table().at(handle).owner);
  }
  pools_.FreeAll(handles_[request]);
  counts_.operations += handles_[request].size();
  handles_[request].clear();
}

}  // namespace cistern::tools
