// The product's own pools under the same calls as the published ones.
//
// One arena, addresses only: its pages are never touched, so that an arena of any size costs
// nothing. When a pool is out, blocks of other pools are moved together until it has room (their
// bytes are counted, not copied); none is ever evicted. Every block may move: a request finds its
// own through their handles.
//
// Layering  the one place in tools/ that sees storage: what is measured is storage's own code
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "storage/arena.h"
#include "storage/pool/asymmetric_pools.h"
#include "tools/bench/pools/policy.h"

namespace cistern::tools {

class ProductPolicy final : public PoolPolicy {
 public:
  // ResourceExhausted: no address space for the arena.
  static absl::StatusOr<std::unique_ptr<ProductPolicy>> Create(const PolicyOptions& options);

  bool Allocate(uint32_t request, BlockKind kind, uint32_t count) override;
  void Release(uint32_t request) override;
  bool MayFit(const Footprint& footprint) const override {
    return footprint.bytes(model_) <= pools_.free_bytes() + pools_.remainder_bytes();
  }
  bool damaged(uint32_t) const override { return false; }
  PolicyCounts counts() const override {
    return {.operations = operations_,
            .moved_bytes = moved_bytes_,
            .rebalance_seconds = rebalance_seconds_};
  }
  const storage::AsymmetricPools& pools() const { return pools_; }

 private:
  ProductPolicy(const PolicyOptions& options, std::unique_ptr<storage::Arena> arena)
      : model_(options.model),
        arena_(std::move(arena)),
        pools_(arena_.get()),
        handles_(options.num_requests) {}

  // Takes what there is, up to `count`, and says whose it is.
  uint32_t Take(uint32_t request, storage::PoolId pool, uint32_t count);
  bool MakeRoom(storage::PoolId pool);

  PoolModel model_;
  std::unique_ptr<storage::Arena> arena_;
  storage::AsymmetricPools pools_;
  storage::PoolId pool_of_[2] = {};                    // by BlockKind
  std::vector<std::vector<storage::Handle>> handles_;  // [request]
  uint64_t operations_ = 0;
  uint64_t moved_bytes_ = 0;
  double rebalance_seconds_ = 0;
};

}  // namespace cistern::tools
