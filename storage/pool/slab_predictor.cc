#include "storage/pool/slab_predictor.h"

#include <algorithm>
#include <cmath>

namespace cistern::storage {

SlabPredictor::Demand& SlabPredictor::At(PoolId pool) {
  if (pool >= demands_.size()) demands_.resize(pool + 1);
  return demands_[pool];
}

double SlabPredictor::Rate(PoolId pool, absl::Time now) const {
  if (pool >= demands_.size() || demands_[pool].rate == 0) return 0;
  const Demand& demand = demands_[pool];
  return demand.rate * std::exp(-absl::FDivDuration(now - demand.at, options_.window));
}

void SlabPredictor::Record(PoolId pool, int64_t blocks, absl::Time now) {
  const double rate = Rate(pool, now);
  Demand& demand = At(pool);
  demand.rate = rate + static_cast<double>(blocks) / absl::ToDoubleSeconds(options_.window);
  demand.at = now;
}

std::optional<PoolNeed> SlabPredictor::Next(const AsymmetricPools& pools, absl::Time now) {
  if (now < next_look_) return std::nullopt;
  next_look_ = now + options_.interval;
  const double horizon = absl::ToDoubleSeconds(options_.horizon);
  const auto known = static_cast<PoolId>(std::min(demands_.size(), pools.num_pools()));
  std::optional<PoolNeed> soonest;
  for (PoolId pool = 0; pool < known; ++pool) {
    const double rate = Rate(pool, now);
    if (rate <= 0 || now < demands_[pool].quiet_until) continue;
    // More than the arena holds cannot be had, whatever the rate.
    const double want =
        std::min(std::ceil(rate * horizon), static_cast<double>(pools.MaxBlocks(pool)));
    const auto blocks = static_cast<uint32_t>(want);
    const uint64_t supply = pools.Supply(pool, blocks);
    if (supply >= blocks) continue;
    const absl::Duration runs_out = absl::Seconds(static_cast<double>(supply) / rate);
    if (soonest.has_value() && runs_out >= soonest->runs_out) continue;
    soonest = PoolNeed{.pool = pool,
                       .bytes = (blocks - supply) * pools.counts(pool).stride_bytes,
                       .runs_out = runs_out};
  }
  return soonest;
}

void SlabPredictor::NoRoom(PoolId pool, absl::Time now) {
  At(pool).quiet_until = now + options_.horizon / 4;
}

}  // namespace cistern::storage
