#include <cstring>
#include <vector>

#include "kernels/conv_tail/conv_tail.h"

namespace cistern::kernels {

void ConvTailRef(const ConvTailParams& params) {
  const uint64_t width = params.width, channels = params.channels, size = params.element_bytes;
  const auto in_tail = [&](uint64_t token, uint64_t channel) {
    return size * (params.layout == ConvTailLayout::kTokenMajor ? token * channels + channel
                                                                : channel * width + token);
  };
  std::vector<std::byte> tail(width * channels * size);
  for (uint64_t w = 0; w < width; ++w) {
    const uint64_t from = params.num_tokens + w;  // in (tail_in, then inputs)
    for (uint64_t c = 0; c < channels; ++c) {
      std::byte* const to = tail.data() + in_tail(w, c);
      if (from >= width) {
        std::memcpy(to, params.inputs + (from - width) * params.input_stride + c * size, size);
      } else if (params.tail_in != nullptr) {
        std::memcpy(to, params.tail_in + in_tail(from, c), size);
      }
    }
  }
  if (!tail.empty()) std::memcpy(params.tail_out, tail.data(), tail.size());
}

}  // namespace cistern::kernels
