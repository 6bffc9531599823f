// How the fold and decode kernels cut up the scratch memory that a caller gives them.
//
// Every piece is a multiple of 16 floats and begins at a multiple of 64 bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/recurrence/recurrence.h"

namespace cistern::kernels {

inline constexpr size_t kChunkTokens = 16;
inline constexpr size_t kPassChunks = 16;  // one pass of the state through the processor
inline constexpr size_t kDecodeGroup = 8;  // new tokens that one pass over a state serves

constexpr size_t PaddedWidth(uint32_t dim) { return (size_t{dim} + 15) / 16 * 16; }

// One chunk, as chunk-inl.h prepares it. width = PaddedWidth(K).
struct ChunkScratch {
  float* keys;       // [16][width]: what values are multiplied with when they go into a row
  float* key_lanes;  // [width][16]: what rows are multiplied with, tokens in lanes (delta rules)
  float* pairs;      // [16][16]: products of keys (delta rules)
  float* solve;   // [16][16]: from what the rows have not yet to what goes into them (delta rules)
  float* decay;   // [width], or one number: of the whole chunk
  float* scale;   // [16]: of each value (all others)
  float* before;  // [16]: decay from the chunk's begin to each token (delta rules, scalar decay)

  static constexpr size_t Floats(size_t width) { return 33 * width + 512 + 32; }
};

// Hands out pieces of a scratch, in order.
class ScratchCutter {
 public:
  explicit ScratchCutter(float* begin) : next_(Aligned(begin)) {}

  float* Cut(size_t floats) {
    float* const piece = next_;
    next_ += floats;
    return piece;
  }
  ChunkScratch CutChunk(size_t width) {
    return {.keys = Cut(16 * width),
            .key_lanes = Cut(16 * width),
            .pairs = Cut(256),
            .solve = Cut(256),
            .decay = Cut(width),
            .scale = Cut(16),
            .before = Cut(16)};
  }

  static constexpr size_t kAlignFloats = 16;  // to be had on top, for the alignment

 private:
  static float* Aligned(float* at) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    return at + (64 - address % 64) % 64 / sizeof(float);
  }
  float* next_;
};

}  // namespace cistern::kernels
