#include "tools/bench/transfer/paged_objects.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace cistern::tools {

PagedObjects::PagedObjects(const base::ModelSpec& spec, uint32_t tokens, uint32_t count)
    : spec_(spec),
      num_tokens_(tokens),
      count_(count),
      blocks_each_((tokens + kBlockTokens - 1) / kBlockTokens),
      rows_(spec),
      memory_(uint64_t{spec.num_layers} * count * blocks_each_ * kBlockTokens * spec.row_bytes),
      side_(uint64_t{spec.num_layers} * count * tokens * std::max(1u, spec.rotary_bytes())),
      tables_(count),
      tokens_(count) {
  std::mt19937_64 random(11);
  for (uint32_t i = 0; i < count; ++i) {
    tables_[i].resize(blocks_each_);
    std::iota(tables_[i].begin(), tables_[i].end(), static_cast<int32_t>(i * blocks_each_));
    std::shuffle(tables_[i].begin(), tables_[i].end(), random);
  }
}

void PagedObjects::Draw(uint32_t i, uint64_t seed) {
  std::mt19937_64 random(seed);
  tokens_[i].resize(num_tokens_);
  for (base::TokenId& token : tokens_[i]) token = static_cast<base::TokenId>(random() % 1'000'000);
}

std::byte* PagedObjects::Row(uint32_t i, uint32_t layer, uint32_t token) const {
  const uint64_t layer_rows = uint64_t{count_} * blocks_each_ * kBlockTokens;
  const auto block = static_cast<uint64_t>(tables_[i][token / kBlockTokens]);
  return memory_.data() +
         (layer * layer_rows + block * kBlockTokens + token % kBlockTokens) * spec_.row_bytes;
}

std::byte* PagedObjects::Side(uint32_t i, uint32_t layer) const {
  return side_.data() + (uint64_t{layer} * count_ + i) * num_tokens_ * spec_.rotary_bytes();
}

PagedCache PagedObjects::Cache(uint32_t i) const {
  PagedCache cache{.block_table = tables_[i],
                   .num_blocks = uint64_t{count_} * blocks_each_,
                   .block_tokens = kBlockTokens,
                   .block_stride = uint64_t{kBlockTokens} * spec_.row_bytes,
                   .row_stride = spec_.row_bytes};
  const uint64_t layer_bytes = cache.num_blocks * cache.block_stride;
  cache.layer_base.reserve(spec_.num_layers);
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer)
    cache.layer_base.push_back(memory_.data() + layer * layer_bytes);
  return cache;
}

RowSource PagedObjects::Source(uint32_t i) const {
  RowSource source{.cache = Cache(i)};
  source.pre_rope_stride = spec_.rotary_bytes();
  source.pre_rope.reserve(spec_.num_layers);
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer)
    source.pre_rope.push_back(Side(i, layer));
  return source;
}

void PagedObjects::Compute(uint32_t i) {
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    for (uint32_t t = 0; t < num_tokens_; ++t) {
      rows_.WriteRow(tokens_[i][t], layer, t, Row(i, layer, t));
      rows_.WritePreRope(tokens_[i][t], layer, Side(i, layer) + uint64_t{t} * spec_.rotary_bytes());
    }
  }
}

void PagedObjects::Wipe() { std::memset(memory_.data(), 0, memory_.size()); }

uint64_t PagedObjects::Mismatches(uint32_t i) {
  uint64_t mismatches = 0;
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    for (uint32_t t = 0; t < num_tokens_; ++t) {
      if (!rows_.RowEquals(tokens_[i][t], layer, t, Row(i, layer, t))) ++mismatches;
    }
  }
  return mismatches;
}

bool PagedObjects::IsStoredRow(uint32_t i, uint32_t layer, uint32_t token, const std::byte* row) {
  std::vector<std::byte> expected(spec_.row_bytes);
  rows_.WriteRow(tokens_[i][token], layer, token, expected.data());
  rows_.WritePreRope(tokens_[i][token], layer, expected.data() + spec_.rotary_offset());
  return std::memcmp(expected.data(), row, spec_.row_bytes) == 0;
}

}  // namespace cistern::tools
