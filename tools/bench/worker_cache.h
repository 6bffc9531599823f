// The bench's stand-in for an inference worker: a paged cache as engines keep it, and "computing"
// rows into it.
//
// Every call gets another block table, so that a row left behind by an earlier call is never where
// it would pass for a fetched one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "base/model_spec.h"
#include "cistern/client.h"
#include "tools/bench/row_model.h"

namespace cistern::tools {

class WorkerCache {
 public:
  static constexpr uint32_t kBlockTokens = 64;  // FlashMLA's page

  // Room for sequences of `max_tokens`. The memory is touched here, once.
  WorkerCache(const base::ModelSpec& spec, uint32_t max_tokens);

  // A new sequence: new block table, nothing computed.
  void Begin(std::span<const base::TokenId> tokens);

  PagedCache Destination() const;
  RowSource Source(bool pre_rope) const;
  std::vector<std::byte*> pre_rope() const { return side_layers_; }
  uint64_t pre_rope_stride() const { return spec_.rotary_bytes(); }

  // Writes the rows of tokens [range), all layers, and their k_r before RoPE: what a prefill
  // leaves.
  void Compute(TokenRange range);

  const std::byte* Row(uint32_t layer, uint32_t position) const;

  // Rows of `range` that are not what computing them would have left. `base_offset` < 0: bit for
  // bit; otherwise within the bound of a move from rotated rows whose first token lay at
  // base_offset.
  uint64_t CountMismatches(TokenRange range, int64_t base_offset);

  uint64_t bytes() const;

 private:
  std::byte* MutableRow(uint32_t layer, uint32_t position);

  const base::ModelSpec spec_;
  RowModel rows_;
  uint32_t num_blocks_;
  std::vector<std::byte> memory_;  // [layer][block][slot][row]
  std::vector<std::byte> side_;    // [layer][token][rotary]
  std::vector<std::byte*> layers_, side_layers_;
  std::vector<int32_t> all_blocks_, table_;
  std::vector<base::TokenId> tokens_;
  std::mt19937_64 random_{7};
};

}  // namespace cistern::tools
