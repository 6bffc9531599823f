#include <cstring>

#include "kernels/rotary/rotate_row.h"
#include "kernels/scatter/scatter.h"

namespace cistern::kernels {

void ScatterRef(const ScatterParams& params) {
  const RowRange& range = params.range;
  for (uint32_t l = 0; l < range.num_layers; ++l) {
    for (uint32_t i = 0; i < range.num_tokens; ++i) {
      const std::byte* from = params.source.Row(range.first_layer + l, range.first_token + i);
      std::byte* to = params.cache.Row(range.first_layer + l, range.cache_token + i);
      std::memcpy(to, from, params.source.row_bytes);
      if (params.turns == nullptr || params.turns->identity()) continue;
      RotateRowRef(from + params.rotary_offset, *params.turns, params.turns->At(i),
                   to + params.rotary_offset);
    }
  }
}

}  // namespace cistern::kernels
