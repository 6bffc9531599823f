#include "kernels/rows.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "base/model_spec.h"
#include "base/status_macros.h"

namespace cistern::kernels {
namespace {

constexpr uint64_t kMaxRowStride = uint64_t{1} << 32;
constexpr uint32_t kMaxPageRows = 1u << 24;

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("rows: ", parts...));
}

absl::Status ValidateRange(const RowRange& range) {
  if (range.num_layers == 0) return Invalid("range has no layers");
  if (range.num_tokens == 0) return Invalid("range has no tokens");
  return absl::OkStatus();
}

template <typename Byte>
absl::Status ValidateShape(const BasicSegmentRows<Byte>& rows) {
  if (rows.pages == nullptr) return Invalid("segment pages is null");
  if (rows.row_bytes == 0 || rows.row_bytes > base::ModelSpec::kMaxRowBytes) {
    return Invalid("row_bytes is ", rows.row_bytes, "; it must be 1 to ",
                   base::ModelSpec::kMaxRowBytes);
  }
  if (rows.page_rows == 0 || rows.page_rows > kMaxPageRows) {
    return Invalid("page_rows is ", rows.page_rows, "; it must be 1 to ", kMaxPageRows);
  }
  if (rows.num_layers > kMaxLayers)
    return Invalid("segment has ", rows.num_layers, " layers; at most ", kMaxLayers);
  if (rows.layer_stride > kMaxLayerStride ||
      (rows.num_layers > 1 && rows.layer_stride < uint64_t{rows.page_rows} * rows.row_bytes)) {
    return Invalid("layer_stride is ", rows.layer_stride, "; it must hold page_rows * row_bytes");
  }
  return absl::OkStatus();
}

template <typename Byte>
absl::Status ValidateSegment(const BasicSegmentRows<Byte>& rows, const RowRange& range) {
  CISTERN_RETURN_IF_ERROR(ValidateRange(range));
  CISTERN_RETURN_IF_ERROR(ValidateShape(rows));
  if (range.first_layer < rows.first_layer || uint64_t{range.first_layer} + range.num_layers >
                                                  uint64_t{rows.first_layer} + rows.num_layers) {
    return Invalid("layers [", range.first_layer, ", +", range.num_layers,
                   ") are outside the segment's [", rows.first_layer, ", +", rows.num_layers, ")");
  }
  const uint64_t end = uint64_t{range.first_token} + range.num_tokens;
  if (end > std::min<uint64_t>(uint64_t{rows.num_pages} * rows.page_rows, UINT32_MAX)) {
    return Invalid("tokens [", range.first_token, ", +", range.num_tokens,
                   ") are outside the segment's ", rows.num_pages, " pages of ", rows.page_rows);
  }
  for (uint64_t page = range.first_token / rows.page_rows; page * rows.page_rows < end; ++page) {
    if (rows.pages[page] == nullptr) return Invalid("segment page ", page, " is null");
  }
  return absl::OkStatus();
}

template <typename Byte>
absl::Status ValidateShape(const BasicPagedCache<Byte>& cache, uint32_t row_bytes) {
  if (cache.layers == nullptr) return Invalid("cache layers is null");
  if (cache.block_table == nullptr) return Invalid("block_table is null");
  if (cache.block_size == 0 || cache.block_size > kMaxPageRows) {
    return Invalid("block_size is ", cache.block_size, "; it must be 1 to ", kMaxPageRows);
  }
  if (cache.row_stride < row_bytes || cache.row_stride > kMaxRowStride) {
    return Invalid("row_stride is ", cache.row_stride, "; a row has ", row_bytes, " bytes");
  }
  const uint64_t block_bytes = uint64_t{cache.block_size - 1} * cache.row_stride + row_bytes;
  uint64_t tensor_bytes = 0;
  if (cache.num_blocks > 1 && cache.block_stride < block_bytes) {
    return Invalid("block_stride is ", cache.block_stride, "; a block has ", block_bytes, " bytes");
  }
  if (__builtin_mul_overflow(cache.block_stride, uint64_t{cache.num_blocks}, &tensor_bytes)) {
    return Invalid("block_stride ", cache.block_stride, " times num_blocks ", cache.num_blocks,
                   " overflows");
  }
  return absl::OkStatus();
}

template <typename Byte>
absl::Status ValidatePaged(const BasicPagedCache<Byte>& cache, const RowRange& range,
                           uint32_t row_bytes) {
  CISTERN_RETURN_IF_ERROR(ValidateRange(range));
  CISTERN_RETURN_IF_ERROR(ValidateShape(cache, row_bytes));
  const uint64_t layers_end = uint64_t{range.first_layer} + range.num_layers;
  if (layers_end > cache.num_layers) {
    return Invalid("layers [", range.first_layer, ", +", range.num_layers,
                   ") are outside the cache's ", cache.num_layers);
  }
  for (uint64_t layer = range.first_layer; layer < layers_end; ++layer) {
    if (cache.layers[layer] == nullptr) return Invalid("cache layer ", layer, " is null");
  }
  const uint64_t end = uint64_t{range.cache_token} + range.num_tokens;
  if (end > std::min<uint64_t>(uint64_t{cache.table_blocks} * cache.block_size, UINT32_MAX)) {
    return Invalid("cache tokens [", range.cache_token, ", +", range.num_tokens,
                   ") are outside the block table's ", cache.table_blocks, " blocks of ",
                   cache.block_size);
  }
  for (uint64_t i = range.cache_token / cache.block_size; i * cache.block_size < end; ++i) {
    const int32_t block = cache.block_table[i];
    if (block < 0 || static_cast<uint32_t>(block) >= cache.num_blocks) {
      return Invalid("block_table[", i, "] is ", block, "; the cache has ", cache.num_blocks,
                     " blocks");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateRows(const SegmentRows& rows, const RowRange& range) {
  return ValidateSegment(rows, range);
}
absl::Status ValidateRows(const MutableSegmentRows& rows, const RowRange& range) {
  return ValidateSegment(rows, range);
}
absl::Status ValidateCache(const ConstPagedCache& cache, const RowRange& range,
                           uint32_t row_bytes) {
  return ValidatePaged(cache, range, row_bytes);
}
absl::Status ValidateCache(const PagedCache& cache, const RowRange& range, uint32_t row_bytes) {
  return ValidatePaged(cache, range, row_bytes);
}

}  // namespace cistern::kernels
