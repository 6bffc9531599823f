// What an object is worth: aged frequency x recompute cost / bytes (after
// GreedyDual-Size-Frequency).
//
//   density  = FLOPs to compute the object again / bytes that it occupies
//   priority = inflation + frequency x density        when it is written and each time it is used
//   victim   = the lowest priority; inflation rises to it
//
// Inflation is the age: what was worth much long ago stands no higher than what is used now. Whole
// numbers throughout, so that the same calls give the same victims on every machine.
//
// Thread   one at a time
// Source   Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching"
// (1998)
#pragma once

#include <cstdint>

#include "base/model_spec.h"
#include "base/object.h"

namespace cistern::storage {

// FLOPs to compute a segment again at its depth: what the model spec says, or tokens x (1 + depth /
// 32768) of a nominal model. `spec` may be null (a blob: as much as that many bytes of a nominal
// model's rows).
double RecomputeFlops(const base::ObjectHeader& header, const base::ModelSpec* spec);

class ValuePolicy {
 public:
  static constexpr uint32_t kMaxFrequency =
      16;  // more uses than this say nothing about the next one
  static constexpr uint64_t kMaxDensity = 1ull << 36;  // FLOPs per byte
  static constexpr uint64_t kMaxPriority = (1ull << 47) - 1;

  // At least 1.
  static uint64_t Density(const base::ObjectHeader& header, const base::ModelSpec* spec,
                          uint64_t bytes);
  // From 1 to kMaxPriority.
  uint64_t Priority(uint64_t density, uint32_t frequency) const;
  // What is left of a priority: per byte, in FLOPs.
  uint64_t Value(uint64_t priority) const {
    return priority > inflation_ ? priority - inflation_ : 0;
  }

  void OnEvict(uint64_t priority);
  uint64_t inflation() const { return inflation_; }

 private:
  uint64_t inflation_ = 0;
};

}  // namespace cistern::storage
