#include <cstring>

#include "kernels/gather/gather.h"

namespace cistern::kernels {

void GatherRef(const GatherParams& params) {
  const RowRange& range = params.range;
  for (uint32_t l = 0; l < range.num_layers; ++l) {
    for (uint32_t i = 0; i < range.num_tokens; ++i) {
      const uint32_t layer = range.first_layer + l;
      const std::byte* from = params.cache.Row(layer, range.cache_token + i);
      std::byte* to = params.target.Row(layer, range.first_token + i);
      std::memcpy(to, from, params.target.row_bytes);
      if (params.k_r.rows == nullptr) continue;
      std::memcpy(to + params.rotary_offset, params.k_r.Row(layer, range.cache_token + i),
                  params.k_r.bytes);
    }
  }
}

}  // namespace cistern::kernels
