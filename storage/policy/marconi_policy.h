// Marconi's score: recency + alpha x FLOP efficiency.
//
//   recency     1 / (now - last use)
//   efficiency  FLOPs that the block saves over its parent / its bytes
//
// Both are scaled to 0..1 over the candidates; the lowest score goes. The paper scores all of its
// candidates for each victim and tunes alpha by replaying the start of its trace with 0, 0.1 .. 2.
// Here the candidates are 64 drawn blocks (all, when there are no more), and alpha is given: 0 is
// recency alone, and with blocks as small as pages a tenth is already much, since most recencies
// are near 0.
//
// Cost     O(64) for a victim, O(1) otherwise
// Source   Pan et al., "Marconi: Prefix caching for the era of hybrid LLMs", MLSys 2025 (arXiv
//          2411.19379)
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/policy/candidates.h"
#include "storage/policy/eviction_policy.h"

namespace cistern::storage {

class MarconiPolicy final : public EvictionPolicy {
 public:
  static constexpr double kDefaultAlpha = 0.1;  // the least that the paper tries but 0
  static constexpr size_t kSample = 64;

  explicit MarconiPolicy(double alpha = kDefaultAlpha, PolicyAge* shared = nullptr)
      : EvictionPolicy(shared), alpha_(alpha) {}

 private:
  void Entered(Slot, uint64_t) override {}
  void Used(Slot) override {}
  void Opened(Slot slot) override { candidates_.Add(slot); }
  void Closed(Slot slot) override { candidates_.Remove(slot); }
  Slot Choose() override;
  void Left(Slot, Exit, uint64_t) override {}

  double alpha_;
  Candidates<Entries> candidates_{entries()};
};

}  // namespace cistern::storage
