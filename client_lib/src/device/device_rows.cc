#include "client_lib/src/device/device_rows.h"

#include <algorithm>

namespace cistern::client {

template <typename Byte>
void AppendRows(const kernels::BasicPagedCache<Byte>& cache, uint32_t layer, uint32_t first,
                uint32_t count, uint64_t row_bytes, std::byte* host, uint64_t host_stride,
                std::vector<DeviceMemory::Piece>* pieces) {
  for (uint32_t done = 0; done < count;) {
    const uint32_t token = first + done;
    const uint32_t rows = std::min(count - done, cache.block_size - token % cache.block_size);
    pieces->push_back({.device = const_cast<std::byte*>(cache.Row(layer, token)),
                       .device_stride = cache.row_stride,
                       .host = host + uint64_t{done} * host_stride,
                       .host_stride = host_stride,
                       .row_bytes = row_bytes,
                       .rows = rows});
    done += rows;
  }
}

template void AppendRows(const kernels::PagedCache&, uint32_t, uint32_t, uint32_t, uint64_t,
                         std::byte*, uint64_t, std::vector<DeviceMemory::Piece>*);
template void AppendRows(const kernels::ConstPagedCache&, uint32_t, uint32_t, uint32_t, uint64_t,
                         std::byte*, uint64_t, std::vector<DeviceMemory::Piece>*);

}  // namespace cistern::client
