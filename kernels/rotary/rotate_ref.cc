#include <cstring>

#include "kernels/rotary/rotate.h"
#include "kernels/rotary/rotate_row.h"

namespace cistern::kernels {

void RotateRef(const RotateParams& params) {
  const Turns& turns = *params.turns;
  for (uint32_t i = 0; i < params.num_rows; ++i) {
    const std::byte* in = params.in + i * params.in_stride;
    std::byte* out = params.out + i * params.out_stride;
    if (turns.identity()) {
      std::memmove(out, in, size_t{params.identity_dim} * 2);
    } else {
      RotateRowRef(in, turns, turns.At(i), out);
    }
  }
}

}  // namespace cistern::kernels
