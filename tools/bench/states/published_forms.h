// The forms that ours are measured beside: the recurrence step by step, as engines run it, and a
// ring of 16 inputs with flush, after ReplaySSM (Dao AI Lab, 2026).
//
// Both are vectorised with the kernels' own tiles, ask for memory ahead and write what will not be
// read soon past the caches. `steps` reads and writes the state for each token; a run of tokens
// stays with one head, whose state then lies in L2. `ring` keeps (k, u, g) of at most 16 tokens,
// replays them onto each block of state rows in L1 for every new token, and writes the state when
// it is full.
//
// Shapes and units as kernels/recurrence. Thread: any; scratch is the caller's
#pragma once

#include <cstddef>
#include <span>

#include "kernels/recurrence/decode.h"
#include "kernels/recurrence/fold.h"

namespace cistern::tools {

inline constexpr uint32_t kRingTokens = 16;
inline constexpr uint32_t kRingNew = 8;  // that one call of RunRing answers

struct StepItem {
  const float* state_in = nullptr;
  float* state_out = nullptr;  // after the last token; may be state_in
  float* kept = nullptr;       // [num_tokens, state]: the state after each token, too; or null
  uint32_t num_tokens = 0;
  kernels::TokenArray q, k, v;
  kernels::DecayArray decay;
  kernels::TokenArray weight;
  float* out = nullptr;  // [num_tokens, num_heads, V]; null: nobody asks
};

size_t StepScratchFloats(const kernels::RecurrenceShape& shape);
void RunSteps(const kernels::RecurrenceShape& shape, std::span<const StepItem> items,
              std::span<float> scratch);

// Answers new tokens, at most kRingNew, from state and ring; num_buffered + num_new <= kRingTokens.
// The ring is flushed by kernels::Commit.
size_t RingScratchFloats(const kernels::RecurrenceShape& shape);
void RunRing(const kernels::RecurrenceShape& shape, std::span<const kernels::DecodeItem> items,
             std::span<float> scratch);

// A log goes through the ring: token by token where u must be found first, and a flush after each
// 16. In place; `u` [num_tokens, num_heads, V] is written.
void FoldThroughRing(const kernels::RecurrenceShape& shape,
                     std::span<const kernels::FoldItem> items, float* u, std::span<float> scratch);

}  // namespace cistern::tools
