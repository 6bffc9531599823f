// Rows of a paged cache in device memory, as the pieces that are copied.
//
// Shapes   tokens of one layer that are neighbours in the sequence and share a block are one piece
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cistern/device_memory.h"
#include "kernels/rows.h"

namespace cistern::client {

// Tokens [first, first + count) of `layer`; token i of these lies at host + i * host_stride.
template <typename Byte>
void AppendRows(const kernels::BasicPagedCache<Byte>& cache, uint32_t layer, uint32_t first,
                uint32_t count, uint64_t row_bytes, std::byte* host, uint64_t host_stride,
                std::vector<DeviceMemory::Piece>* pieces);

}  // namespace cistern::client
