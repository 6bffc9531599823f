// Which pool will be out of blocks soon, so that room can be made before somebody waits for it.
//
// For each pool the predictor keeps the net rate at which blocks are taken, an exponential average
// over the last `window`. A pool whose supply (the blocks that Allocate would find) does not last
// for another `horizon` at that rate is named, the most urgent first. It decides nothing else: it
// moves no block and evicts none. The same calls with the same times give the same answers.
//
// Whoever owns the pools calls, in one place each
//
//     predictor.Record(pool, +taken or -given back, now);           // after Allocate and Free
//     if (const auto need = predictor.Next(pools, now)) {           // on the way out of a request
//       if (pools.GatherRoom(need->pool, move) == 0) predictor.NoRoom(need->pool, now);
//     }
//
// Cost     Record O(1); Next O(1) between looks, O(pools + free extents) for a look
// Thread   one at a time
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"

#include "storage/pool/asymmetric_pools.h"

namespace cistern::storage {

struct SlabPredictorOptions {
  absl::Duration window = absl::Seconds(10);         // of the average
  absl::Duration horizon = absl::Seconds(1);         // how far ahead; above 0
  absl::Duration interval = absl::Milliseconds(50);  // Next looks no more often
};

// A pool that will be out, and how much it will want by the end of the horizon.
struct PoolNeed {
  PoolId pool = 0;
  uint64_t bytes = 0;       // beyond its supply, in whole blocks, at least one
  absl::Duration runs_out;  // from now
};

class SlabPredictor {
 public:
  explicit SlabPredictor(const SlabPredictorOptions& options) : options_(options) {}

  // `blocks` were taken (positive) or given back (negative). Times never go back.
  void Record(PoolId pool, int64_t blocks, absl::Time now);

  // Net blocks a second that are taken; negative when more come back.
  double Rate(PoolId pool, absl::Time now) const;

  // The pool that runs out first, of those that do within the horizon; nothing between looks.
  std::optional<PoolNeed> Next(const AsymmetricPools& pools, absl::Time now);

  // There was no room to be made for this pool: it is not named again for a quarter of the horizon.
  void NoRoom(PoolId pool, absl::Time now);

 private:
  struct Demand {
    double rate = 0;  // blocks a second, at `at`
    absl::Time at = absl::InfinitePast();
    absl::Time quiet_until = absl::InfinitePast();
  };
  Demand& At(PoolId pool);

  SlabPredictorOptions options_;
  std::vector<Demand> demands_;  // by pool
  absl::Time next_look_ = absl::InfinitePast();
};

}  // namespace cistern::storage
