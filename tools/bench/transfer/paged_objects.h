// A worker's paged cache with room for several sequences at once, so that one after another can be
// fetched or published without touching the same memory twice.
//
// Shapes   [layer][sequence][block][slot][row]; the blocks of a sequence are in random order
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "base/model_spec.h"
#include "cistern/client.h"
#include "tools/bench/row_model.h"
#include "tools/bench/transfer/cold_memory.h"

namespace cistern::tools {

class PagedObjects {
 public:
  static constexpr uint32_t kBlockTokens = 64;  // FlashMLA's page

  PagedObjects(const base::ModelSpec& spec, uint32_t tokens, uint32_t count);

  uint32_t count() const { return count_; }
  const base::ModelSpec& spec() const { return spec_; }

  // New tokens for sequence `i`, which nobody had before, given that `seed` is another each time.
  void Draw(uint32_t i, uint64_t seed);
  void SetTokens(uint32_t i, const std::vector<base::TokenId>& tokens) { tokens_[i] = tokens; }
  const std::vector<base::TokenId>& tokens(uint32_t i) const { return tokens_[i]; }

  PagedCache Cache(uint32_t i) const;
  RowSource Source(uint32_t i) const;  // with k_r before RoPE

  void Compute(uint32_t i);  // its rows, as a prefill leaves them
  void Wipe();               // all of it
  std::byte* Row(uint32_t i, uint32_t layer, uint32_t token) const;
  // Rows of `i` that are not, bit for bit, what computing them leaves.
  uint64_t Mismatches(uint32_t i);
  // Whether `row` is token `token`'s row of sequence `i` as a node stores it: k_r before RoPE.
  bool IsStoredRow(uint32_t i, uint32_t layer, uint32_t token, const std::byte* row);

 private:
  std::byte* Side(uint32_t i, uint32_t layer) const;

  const base::ModelSpec spec_;
  const uint32_t num_tokens_, count_, blocks_each_;
  RowModel rows_;
  Memory memory_, side_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<std::vector<base::TokenId>> tokens_;
};

}  // namespace cistern::tools
