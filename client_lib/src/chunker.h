// Cuts a token sequence into chunks by content, so that equal text gives equal chunks wherever it
// stands.
//
//   (Append | Boundary)* Finish
//
// Structure comes first: a boundary that the caller knows (Boundary) and each of the model's
// boundary tokens begin a chunk. Inside, FastCDC over token ids: h = (h << 4) + gear(token), cut
// where the top bits of h are zero. A shift of 4 makes a window of 16 tokens; the shortest chunk is
// longer than that, so whether a place can be a cut depends on the last 16 tokens alone, never on
// what stood before, and boundaries re-align by themselves after an edit.
//
// Sizes    32 to 512 tokens, about 150 on average (avg 128, normalisation level 1: one bit more
// before it, one less after);
//          shorter only before a boundary and at the end
// Cost     O(1) a token, no look-back; `Append` may be called with any pieces, the result is the
// same Thread   one at a time Never change a number here: other numbers, other chunks, and nothing
// that is stored is found again. A golden test holds them.
//
// Source   FastCDC (Xia et al., USENIX ATC 2016); gear hash (Xia et al., Performance Evaluation
// 2014)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/key.h"

namespace cistern::client {

class Chunker {
 public:
  static constexpr uint32_t kMinTokens = 32;
  static constexpr uint32_t kAvgTokens = 128;
  static constexpr uint32_t kMaxTokens = 512;
  static constexpr uint32_t kWindowTokens = 16;

  // `ends` receives the end of each chunk, as an offset from the first token ever appended; it
  // outlives the chunker.
  Chunker(std::span<const base::TokenId> boundary_tokens, std::vector<uint32_t>* ends);

  void Append(std::span<const base::TokenId> tokens);
  // The next token begins a part. Twice in a row, or at the start, it says nothing new.
  void Boundary();
  // Ends the last chunk.
  void Finish() { Boundary(); }

 private:
  bool IsBoundaryToken(base::TokenId token) const {
    return token / 64 < boundary_bits_.size() &&
           (boundary_bits_[token / 64] >> (token % 64) & 1) != 0;
  }
  void AppendPlain(std::span<const base::TokenId> tokens);
  void Cut();

  std::vector<uint32_t>* const ends_;
  std::vector<uint64_t> boundary_bits_;  // one bit a token id, up to the largest in the set ...
  std::vector<base::TokenId> boundary_large_;  // ... but ids too large for that, sorted
  uint32_t position_ = 0;                      // tokens appended
  uint32_t size_ = 0;                          // of them, in the open chunk
  uint64_t hash_ = 0;
};

// All at once: the ends of the chunks of `tokens`, ascending, the last one tokens.size().
// `part_boundaries`: offsets, ascending, each at most tokens.size().
std::vector<uint32_t> ChunkEnds(std::span<const base::TokenId> tokens,
                                std::span<const uint32_t> part_boundaries,
                                std::span<const base::TokenId> boundary_tokens);

}  // namespace cistern::client
