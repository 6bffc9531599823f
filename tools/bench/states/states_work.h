// Sequences to measure with: states that lie in no cache, the inputs of their tokens, and what a
// float64 reference makes of a few of them.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "kernels/recurrence/decode.h"
#include "kernels/recurrence/fold.h"
#include "kernels/recurrence/mamba1.h"
#include "tools/bench/states/states_case.h"
#include "tools/bench/transfer/cold_memory.h"

namespace cistern::tools {

// One state per sequence.
class StateRegion {
 public:
  StateRegion(uint64_t state_bytes, uint32_t count)
      : state_bytes_(state_bytes), memory_(state_bytes * count) {}
  float* At(uint32_t sequence) {
    return reinterpret_cast<float*>(memory_.data() + sequence * state_bytes_);
  }
  Memory& memory() { return memory_; }

 private:
  uint64_t state_bytes_;
  Memory memory_;
};

// Inputs of `tokens` tokens for each of `count` sequences: k, q, v bf16, g and weights float32.
class TokenRegion {
 public:
  TokenRegion(const StatesLayer& layer, uint32_t tokens, uint32_t count, uint64_t seed);

  // All arrays from token `from` of sequence `sequence` on.
  kernels::TokenArray Q(uint32_t sequence, uint32_t from) const;
  kernels::TokenArray K(uint32_t sequence, uint32_t from) const;
  kernels::TokenArray V(uint32_t sequence, uint32_t from) const;
  kernels::DecayArray Decay(uint32_t sequence, uint32_t from) const;
  kernels::TokenArray Weight(uint32_t sequence, uint32_t from) const;  // Mamba-1: dt, by channel
  const float* a() const { return rates_.data(); }                     // Mamba-1: A

 private:
  const StatesLayer layer_;
  const uint32_t tokens_;
  uint32_t decay_width_ = 1, weight_width_ = 1;
  std::vector<uint16_t> q_, k_, v_;
  std::vector<float> g_, weight_, rates_;
};

// How many sequences make a region of at least so many bytes, a whole number of batches.
uint32_t SequencesOf(const StatesCase& c, uint64_t region_bytes);

// Random numbers of about unit size.
void FillStates(StateRegion& region, uint64_t seed);

// ||a - b|| / ||b||
double RelativeL2(std::span<const float> a, std::span<const float> b);

}  // namespace cistern::tools
