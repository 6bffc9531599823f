// The allocators that the AVMP paper compares, with all that they do wrong: they destroy requests
// that still run, one cannot tell whose page a number names, and capacity leaks away.
//
// Source   An Xuan Nguyen, arXiv 2605.22416, and the behaviour of its published code
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tools/bench/pools/block_pool.h"
#include "tools/bench/pools/policy.h"

namespace cistern::tools {

// One pool; every block is as large as the larger of the two kinds. On failure one request, the
// oldest, loses everything. Requests remember plain block numbers: one that departs gives back the
// numbers it once got, and so destroys whoever has those blocks now.
class PaddedPolicy final : public PoolPolicy {
 public:
  explicit PaddedPolicy(const PolicyOptions& options);

  bool Allocate(uint32_t request, BlockKind kind, uint32_t count) override;
  void Release(uint32_t request) override;
  bool MayFit(const Footprint& footprint) const override {
    return footprint.pages + footprint.states <= pool_.num_free();
  }
  bool damaged(uint32_t request) const override { return damaged_[request]; }
  PolicyCounts counts() const override {
    return {.operations = pool_.operations(), .live_evictions = live_evictions_};
  }

 private:
  bool evict_;
  BlockPool pool_;
  std::vector<std::vector<uint32_t>> numbers_;  // [request]: every number it ever got
  std::vector<bool> damaged_;
  uint64_t live_evictions_ = 0;
};

// Two pools with a fixed split (static), or one that moves (avmp). On failure the oldest request of
// the pool loses its blocks there; avmp then moves `batch` blocks of the other pool's tail, if all
// of them are free, and what is left of them after whole blocks of the recipient is lost for ever.
class SplitPolicy final : public PoolPolicy {
 public:
  // `batch` 0: the split never moves.
  SplitPolicy(const PolicyOptions& options, double state_ratio, uint32_t batch);

  bool Allocate(uint32_t request, BlockKind kind, uint32_t count) override;
  void Release(uint32_t request) override;
  bool MayFit(const Footprint& footprint) const override;
  bool damaged(uint32_t request) const override { return damaged_[request]; }
  PolicyCounts counts() const override;

  uint64_t migrations() const { return migrations_; }
  uint64_t wasted_bytes() const { return wasted_bytes_; }
  uint32_t num_blocks(BlockKind kind) const { return pools_[static_cast<int>(kind)].num_blocks(); }

 private:
  bool Try(BlockPool& pool, uint32_t request, uint32_t count);
  bool Migrate(int recipient);

  PoolModel model_;
  bool evict_;
  uint32_t batch_;
  std::array<BlockPool, 2> pools_;  // by BlockKind
  std::vector<bool> damaged_;
  uint64_t live_evictions_ = 0;
  uint64_t migrations_ = 0;
  uint64_t moved_bytes_ = 0;
  uint64_t wasted_bytes_ = 0;
};

// A counter of bytes: blocks of any size fit as long as there are bytes. Never evicts.
class SharedPolicy final : public PoolPolicy {
 public:
  explicit SharedPolicy(const PolicyOptions& options)
      : model_(options.model), free_bytes_(options.total_bytes), held_(options.num_requests) {}

  bool Allocate(uint32_t request, BlockKind kind, uint32_t count) override;
  void Release(uint32_t request) override;
  bool MayFit(const Footprint& footprint) const override {
    return footprint.bytes(model_) <= free_bytes_;
  }
  bool damaged(uint32_t) const override { return false; }
  PolicyCounts counts() const override { return {.operations = operations_}; }

 private:
  struct Held {
    uint64_t bytes = 0;
    uint64_t blocks = 0;
  };
  PoolModel model_;
  uint64_t free_bytes_;
  std::vector<Held> held_;  // [request]
  uint64_t operations_ = 0;
};

}  // namespace cistern::tools
