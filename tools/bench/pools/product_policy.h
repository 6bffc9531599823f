// The product's own pools under the same calls as the published ones.
//
// One arena, addresses only: its pages are never touched, so that an arena of any size costs
// nothing. When a pool is out, blocks of other pools are moved together until it has room (their
// bytes are counted, not copied); none is ever evicted. Every block may move: a request finds its
// own through their handles. With the predictor on, room is also made between calls, for the pool
// that it names; a tick counts as a millisecond.
//
// Layering  the one place in tools/ that sees storage: what is measured is storage's own code
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "storage/arena.h"
#include "storage/pool/asymmetric_pools.h"
#include "storage/pool/slab_predictor.h"
#include "tools/bench/pools/policy.h"

namespace cistern::tools {

// What the pools' owners stand for: numbers from 1 on, used again.
class BlockOwners {
 public:
  struct Block {
    uint32_t request = 0;
    uint32_t index = 0;  // among the request's
  };

  uint32_t New(Block block) {
    if (free_.empty()) {
      blocks_.push_back(block);
      return static_cast<uint32_t>(blocks_.size() - 1);
    }
    const uint32_t owner = free_.back();
    free_.pop_back();
    blocks_[owner] = block;
    return owner;
  }
  void Drop(uint32_t owner) { free_.push_back(owner); }
  const Block& at(uint32_t owner) const { return blocks_[owner]; }

 private:
  std::vector<Block> blocks_ = {{}};  // [0]: nobody
  std::vector<uint32_t> free_;
};

class ProductPolicy final : public PoolPolicy {
 public:
  // ResourceExhausted: no address space for the arena.
  static absl::StatusOr<std::unique_ptr<ProductPolicy>> Create(const PolicyOptions& options,
                                                               bool predict = false);

  bool Allocate(uint32_t request, BlockKind kind, uint32_t count) override;
  void Release(uint32_t request) override;
  bool MayFit(const Footprint& footprint) const override {
    return footprint.bytes(model_) <= pools_.free_bytes() + pools_.remainder_bytes();
  }
  bool damaged(uint32_t) const override { return false; }
  PolicyCounts counts() const override { return counts_; }
  void Tick(uint64_t tick) override;
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
  uint64_t Gather(storage::PoolId pool);
  void Record(storage::PoolId pool, int64_t blocks);

  PoolModel model_;
  std::unique_ptr<storage::Arena> arena_;
  storage::AsymmetricPools pools_;
  storage::PoolId pool_of_[2] = {};                    // by BlockKind
  std::vector<std::vector<storage::Handle>> handles_;  // [request]
  BlockOwners owners_;
  std::optional<storage::SlabPredictor> predictor_;
  absl::Time now_ = absl::UnixEpoch();
  PolicyCounts counts_;
};

}  // namespace cistern::tools
