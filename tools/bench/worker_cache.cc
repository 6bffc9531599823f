#include "tools/bench/worker_cache.h"

#include <algorithm>
#include <numeric>

namespace cistern::tools {

WorkerCache::WorkerCache(const base::ModelSpec& spec, uint32_t max_tokens)
    : spec_(spec), rows_(spec) {
  const uint32_t blocks_needed = (max_tokens + kBlockTokens - 1) / kBlockTokens;
  num_blocks_ = blocks_needed + blocks_needed / 4 + 1;
  const uint64_t layer_bytes = uint64_t{num_blocks_} * kBlockTokens * spec_.row_bytes;
  const uint64_t side_layer_bytes = uint64_t{max_tokens} * spec_.rotary_bytes();
  memory_.resize(layer_bytes * spec_.num_layers);
  side_.resize(side_layer_bytes * spec_.num_layers);
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    layers_.push_back(memory_.data() + layer * layer_bytes);
    side_layers_.push_back(side_.data() + layer * side_layer_bytes);
  }
  all_blocks_.resize(num_blocks_);
  std::iota(all_blocks_.begin(), all_blocks_.end(), 0);
}

void WorkerCache::Begin(std::span<const base::TokenId> tokens) {
  tokens_.assign(tokens.begin(), tokens.end());
  std::shuffle(all_blocks_.begin(), all_blocks_.end(), random_);
  const size_t blocks = (tokens.size() + kBlockTokens - 1) / kBlockTokens;
  table_.assign(all_blocks_.begin(), all_blocks_.begin() + static_cast<std::ptrdiff_t>(blocks));
}

PagedCache WorkerCache::Destination() const {
  return {.layer_base = layers_,
          .block_table = table_,
          .num_blocks = num_blocks_,
          .block_tokens = kBlockTokens,
          .block_stride = uint64_t{kBlockTokens} * spec_.row_bytes,
          .row_stride = spec_.row_bytes};
}

RowSource WorkerCache::Source(bool pre_rope) const {
  RowSource source{.cache = Destination()};
  if (pre_rope) {
    source.pre_rope.assign(side_layers_.begin(), side_layers_.end());
    source.pre_rope_stride = spec_.rotary_bytes();
  }
  return source;
}

std::byte* WorkerCache::MutableRow(uint32_t layer, uint32_t position) {
  const auto block = static_cast<uint64_t>(table_[position / kBlockTokens]);
  return layers_[layer] + (block * kBlockTokens + position % kBlockTokens) * spec_.row_bytes;
}

const std::byte* WorkerCache::Row(uint32_t layer, uint32_t position) const {
  return const_cast<WorkerCache*>(this)->MutableRow(layer, position);
}

void WorkerCache::Compute(TokenRange range) {
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    for (uint32_t t = range.begin; t < range.end; ++t) {
      rows_.WriteRow(tokens_[t], layer, t, MutableRow(layer, t));
      rows_.WritePreRope(tokens_[t], layer,
                         side_layers_[layer] + uint64_t{t} * spec_.rotary_bytes());
    }
  }
}

uint64_t WorkerCache::CountMismatches(TokenRange range, int64_t base_offset) {
  uint64_t mismatches = 0;
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    for (uint32_t t = range.begin; t < range.end; ++t) {
      const std::byte* row = Row(layer, t);
      const bool good =
          base_offset < 0
              ? rows_.RowEquals(tokens_[t], layer, t, row)
              : rows_.RowNear(tokens_[t], layer,
                              static_cast<uint32_t>(base_offset) + (t - range.begin), t, row);
      mismatches += good ? 0 : 1;
    }
  }
  return mismatches;
}

uint64_t WorkerCache::bytes() const { return memory_.size() + side_.size(); }

}  // namespace cistern::tools
