// A worker's own paged cache, as engines lay it out.
//
// Shapes   layer l: base[l] + block * block_stride + slot * row_stride, one row of the model's
// row_bytes
//          token i of the sequence lies in block block_table[i / block_tokens], slot i %
//          block_tokens
// Units    strides in bytes; row_stride >= row_bytes
// Lifetime the memory outlives the operation that was given the description
// Place    all layers in host memory, or all in that of one device (device_memory.h)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cistern {

class DeviceMemory;

struct PagedCache {
  std::vector<std::byte*> layer_base;    // [num_layers]
  std::span<const int32_t> block_table;  // [ceil(sequence tokens / block_tokens)]
  uint64_t num_blocks = 0;               // blocks in the cache: the bound of every table entry
  uint32_t block_tokens = 64;
  uint64_t block_stride = 0;
  uint64_t row_stride = 0;
  DeviceMemory* device = nullptr;  // nullptr: host memory. k_r before RoPE lies there as well
};

// Where Publish takes rows from. With `pre_rope` the rotary part comes from a side buffer that
// holds k_r before RoPE, and the segment is stored `unrotated`: readers at any position get the
// very bytes that they would have computed.
struct RowSource {
  PagedCache cache;
  // [num_layers]; layer l, token i of the sequence: pre_rope[l] + i * pre_rope_stride, rotary dim x
  // bf16. Empty: the rows of `cache` as they are, k_r already rotated.
  std::vector<const std::byte*> pre_rope;
  uint64_t pre_rope_stride = 0;
};

}  // namespace cistern
