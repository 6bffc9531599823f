#include "storage/word_pool.h"

#include <algorithm>
#include <bit>

namespace cistern::storage {

WordsRef WordPool::Take(uint32_t count) {
  if (count == 0) return kNoWords;
  const uint32_t length = (count + kGranule - 1) / kGranule;
  if (length >= lengths_.size()) lengths_.resize(length + 1);
  if (lengths_[length].first == kNoChunk) Grow(length);
  const uint32_t number = lengths_[length].first;
  Chunk& chunk = chunks_[number];
  const auto index = static_cast<uint32_t>(std::countr_zero(chunk.free));
  chunk.free &= chunk.free - 1;
  if (chunk.free == 0) Unlink(number);
  ++lengths_[length].arrays;
  ++arrays_;
  return number * kMaxArrays + index;
}

void WordPool::Give(WordsRef ref) {
  if (ref == kNoWords) return;
  const uint32_t number = ref / kMaxArrays;
  Chunk& chunk = chunks_[number];
  if (chunk.free == 0) Link(number);
  chunk.free |= uint64_t{1} << ref % kMaxArrays;
  Length& length = lengths_[chunk.stride / kGranule];
  --length.arrays;
  --arrays_;
  const bool alone = length.first == number && chunk.next == kNoChunk;
  if (chunk.free != chunk.whole || alone) return;
  Unlink(number);
  chunk = Chunk{};
  unused_.push_back(number);
}

void WordPool::Grow(uint32_t length) {
  const uint32_t stride = length * kGranule;
  const uint32_t fitting = std::max(kChunkWords / stride, 1u);
  const uint32_t arrays =
      std::min(std::clamp(lengths_[length].arrays / kShare, kMinArrays, kMaxArrays), fitting);
  auto number = static_cast<uint32_t>(chunks_.size());
  if (unused_.empty()) {
    chunks_.emplace_back();
  } else {
    number = unused_.back();
    unused_.pop_back();
  }
  Chunk& chunk = chunks_[number];
  chunk.words = std::make_unique_for_overwrite<uint32_t[]>(size_t{arrays} * stride);
  chunk.whole = ~uint64_t{0} >> (kMaxArrays - arrays);
  chunk.free = chunk.whole;
  chunk.stride = stride;
  Link(number);
}

void WordPool::Link(uint32_t number) {
  Chunk& chunk = chunks_[number];
  uint32_t& first = lengths_[chunk.stride / kGranule].first;
  chunk.previous = kNoChunk;
  chunk.next = first;
  if (first != kNoChunk) chunks_[first].previous = number;
  first = number;
}

void WordPool::Unlink(uint32_t number) {
  const Chunk& chunk = chunks_[number];
  uint32_t& first = lengths_[chunk.stride / kGranule].first;
  (chunk.previous == kNoChunk ? first : chunks_[chunk.previous].next) = chunk.next;
  if (chunk.next != kNoChunk) chunks_[chunk.next].previous = chunk.previous;
}

}  // namespace cistern::storage
