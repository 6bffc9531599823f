// Arrays of 32-bit words that come and go, at addresses that stay and known by 32-bit numbers: cut
// from chunks, each of arrays of about one length. An allocation of its own costs an array 16 bytes
// and whoever has it a pointer of 8.
//
// Lengths are rounded up to 4 words. A chunk holds a 32nd of the arrays of its length, but 4 to 64,
// so that the room of the last one is a small share. A chunk goes with its last array, unless it is
// the only one of its length with room: where arrays go in no order, memory may stay as it was at
// its largest.
//
// Cost     O(1), and an allocation for up to 64 arrays
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace cistern::storage {

using WordsRef = uint32_t;
inline constexpr WordsRef kNoWords = 0;  // an array of none

class WordPool {
 public:
  // Its words are not set. Up to as many as an object's tokens (base::kMaxTokens).
  WordsRef Take(uint32_t count);
  // It came from Take.
  void Give(WordsRef ref);
  uint32_t* At(WordsRef ref) const {
    const Chunk& chunk = chunks_[ref / kMaxArrays];
    return chunk.words.get() + size_t{ref % kMaxArrays} * chunk.stride;
  }
  // In use; kNoWords is none.
  size_t arrays() const { return arrays_; }
  size_t chunks() const { return chunks_.size() - unused_.size() - 1; }

 private:
  static constexpr uint32_t kGranule = 4;     // words
  static constexpr uint32_t kMaxArrays = 64;  // of a chunk
  static constexpr uint32_t kMinArrays = 4;   // unless they are too long
  static constexpr uint32_t kChunkWords = 16384;
  static constexpr uint32_t kShare = 32;  // of the arrays of a length are in a chunk
  static constexpr uint32_t kNoChunk = 0;

  struct Chunk {
    std::unique_ptr<uint32_t[]> words;
    uint64_t free = 0;             // a bit for each array
    uint64_t whole = 0;            // as `free` is when none is in use
    uint32_t stride = 0;           // words from one array to the next
    uint32_t previous = kNoChunk;  // of its length, with room
    uint32_t next = kNoChunk;
  };
  struct Length {
    uint32_t first = kNoChunk;  // with room
    uint32_t arrays = 0;        // in use
  };

  void Grow(uint32_t length);
  void Link(uint32_t number);
  void Unlink(uint32_t number);

  std::vector<Chunk> chunks_ = std::vector<Chunk>(1);  // [kNoChunk] is none
  std::vector<uint32_t> unused_;                       // numbers of chunks that are gone
  std::vector<Length> lengths_;                        // by words / kGranule
  size_t arrays_ = 0;
};

}  // namespace cistern::storage
