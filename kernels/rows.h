// Where rows lie: in the pages of a segment, and in a worker's paged cache.
//
// Both are plain descriptions over memory that the caller owns and keeps valid for the call. Byte
// strides, no alignment needed (64-byte aligned bases and rows are fastest).
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace cistern::kernels {

// With these and the bounds in rows.cc no product of an index and a stride overflows 64 bits.
inline constexpr uint64_t kMaxLayerStride = uint64_t{1} << 48;
inline constexpr uint32_t kMaxLayers = 1u << 15;

// Rows of one segment in a list of pages. Row of (layer, token), token counted from the segment's
// first:
//
//   pages[token / page_rows] + (layer - first_layer) * layer_stride
//                            + (token % page_rows) * row_bytes
//
// KV pages         page_rows 16, layer_stride 16 * row_bytes; the last page may be part full
// dense staging    one page: page_rows = tokens, layer_stride = tokens * row_bytes
template <typename Byte>
struct BasicSegmentRows {
  Byte* const* pages = nullptr;  // [num_pages]
  uint32_t num_pages = 0;
  uint32_t page_rows = 16;
  uint64_t layer_stride = 0;
  uint32_t first_layer = 0;  // the model layer at a page's first byte
  uint32_t num_layers = 0;   // layers in each page
  uint32_t row_bytes = 0;

  Byte* Row(uint32_t layer, uint32_t token) const {
    return pages[token / page_rows] + (layer - first_layer) * layer_stride +
           uint64_t{token % page_rows} * row_bytes;
  }
};
using SegmentRows = BasicSegmentRows<const std::byte>;
using MutableSegmentRows = BasicSegmentRows<std::byte>;

// A worker's paged cache: one tensor per layer, [num_blocks, block_size, row], addressed by token
// through a block table. Row of (layer, token), token counted from the sequence's first:
//
//   layers[layer] + block_table[token / block_size] * block_stride
//                 + (token % block_size) * row_stride
template <typename Byte>
struct BasicPagedCache {
  Byte* const* layers = nullptr;  // [num_layers]
  uint32_t num_layers = 0;
  const int32_t* block_table = nullptr;  // [table_blocks], each in [0, num_blocks)
  uint32_t table_blocks = 0;
  uint32_t num_blocks = 0;  // of each layer's tensor
  uint32_t block_size = 0;  // tokens; engines use 1 to 128
  uint64_t block_stride = 0;
  uint64_t row_stride = 0;

  Byte* Row(uint32_t layer, uint32_t token) const {
    return layers[layer] + uint64_t(uint32_t(block_table[token / block_size])) * block_stride +
           uint64_t{token % block_size} * row_stride;
  }
};
using ConstPagedCache = BasicPagedCache<const std::byte>;
using PagedCache = BasicPagedCache<std::byte>;

// The layers and tokens that a call moves.
struct RowRange {
  uint32_t first_layer = 0;
  uint32_t num_layers = 0;
  uint32_t first_token = 0;  // in the segment
  uint32_t num_tokens = 0;
  uint32_t cache_token = 0;  // in the sequence: where first_token lies in the paged cache
};

// How results are written. Auto streams past the caches (non-temporal stores) when a call moves
// kStreamBytes or more.
enum class StoreHint : uint8_t { kAuto = 0, kCached = 1, kStream = 2 };
inline constexpr uint64_t kStreamBytes = 256 << 10;

inline bool UseStream(StoreHint hint, const RowRange& range, uint32_t row_bytes) {
  if (hint != StoreHint::kAuto) return hint == StoreHint::kStream;
  return uint64_t{range.num_layers} * range.num_tokens * row_bytes >= kStreamBytes;
}

// InvalidArgument, naming the field: a null pointer, an empty range, a range outside the segment or
// the cache, a block id outside [0, num_blocks), a stride smaller than what it steps over, sizes
// whose product overflows. Cost: O(layers + pages + blocks) of the range.
absl::Status ValidateRows(const SegmentRows& rows, const RowRange& range);
absl::Status ValidateRows(const MutableSegmentRows& rows, const RowRange& range);
absl::Status ValidateCache(const ConstPagedCache& cache, const RowRange& range, uint32_t row_bytes);
absl::Status ValidateCache(const PagedCache& cache, const RowRange& range, uint32_t row_bytes);

}  // namespace cistern::kernels
