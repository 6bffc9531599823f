// Cuts a range into runs: rows that lie one after the other in a segment page and in one block of
// the cache.
//
// Order: page, then layer, then token, so that a page is walked front to back. visit(run, next)
// sees the run after its own, so that it can ask for that memory ahead of time; the last run sees
// itself.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/rows.h"

namespace cistern::kernels {

template <typename SegmentByte, typename CacheByte>
struct Run {
  SegmentByte* segment_row;  // of the first row
  CacheByte* cache_row;
  uint32_t layer;
  uint32_t token;  // of the first row, counted in the range
  uint32_t num_rows;
};

template <typename SegmentByte, typename CacheByte, typename Visit>
inline void ForEachRun(const BasicSegmentRows<SegmentByte>& rows,
                       const BasicPagedCache<CacheByte>& cache, const RowRange& range,
                       const Visit& visit) {
  Run<SegmentByte, CacheByte> pending{};
  uint32_t page_begin = 0;  // tokens of the range
  while (page_begin < range.num_tokens) {
    const uint32_t in_page = (range.first_token + page_begin) % rows.page_rows;
    const uint32_t page_end = std::min(range.num_tokens, page_begin + (rows.page_rows - in_page));
    for (uint32_t l = 0; l < range.num_layers; ++l) {
      const uint32_t layer = range.first_layer + l;
      for (uint32_t token = page_begin; token < page_end;) {
        const uint32_t cache_token = range.cache_token + token;
        const uint32_t in_block = cache.block_size - cache_token % cache.block_size;
        const Run<SegmentByte, CacheByte> run{rows.Row(layer, range.first_token + token),
                                              cache.Row(layer, cache_token), layer, token,
                                              std::min(page_end - token, in_block)};
        if (pending.num_rows != 0) visit(pending, run);
        pending = run;
        token += run.num_rows;
      }
    }
    page_begin = page_end;
  }
  if (pending.num_rows != 0) visit(pending, pending);
}

}  // namespace cistern::kernels
