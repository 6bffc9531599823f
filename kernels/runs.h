// Cuts a range into runs: rows that lie one after the other in a segment page and in one block of the cache.
//
// visit(segment_row, cache_row, layer, token, num_rows): the first row's addresses, its layer and its index in the range. Order: page,
// then layer, then token, so that a page is walked front to back.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/rows.h"

namespace cistern::kernels {

template <typename Rows, typename Cache, typename Visit>
inline void ForEachRun(const Rows& rows, const Cache& cache, const RowRange& range, const Visit& visit) {
  uint32_t page_begin = 0;  // tokens of the range
  while (page_begin < range.num_tokens) {
    const uint32_t in_page = (range.first_token + page_begin) % rows.page_rows;
    const uint32_t page_end = std::min(range.num_tokens, page_begin + (rows.page_rows - in_page));
    for (uint32_t l = 0; l < range.num_layers; ++l) {
      const uint32_t layer = range.first_layer + l;
      for (uint32_t token = page_begin; token < page_end;) {
        const uint32_t cache_token = range.cache_token + token;
        const uint32_t block_left = cache.block_size - cache_token % cache.block_size;
        const uint32_t num_rows = std::min(page_end - token, block_left);
        visit(rows.Row(layer, range.first_token + token), cache.Row(layer, cache_token), layer, token, num_rows);
        token += num_rows;
      }
    }
    page_begin = page_end;
  }
}

}  // namespace cistern::kernels
