#include <algorithm>
#include <cstring>

#include "kernels/conv_tail/conv_tail.h"

namespace cistern::kernels {
namespace {

// What of the old tail stays, and where the inputs that come begin.
struct Shift {
  explicit Shift(const ConvTailParams& params)
      : come(std::min(params.width, params.num_tokens)),
        stay(params.width - come),
        first_input(params.inputs == nullptr
                        ? nullptr
                        : params.inputs + (params.num_tokens - come) * params.input_stride) {}
  const uint64_t come, stay;
  const std::byte* const first_input;
};

void MoveOrClear(const std::byte* from, std::byte* to, uint64_t bytes) {
  if (bytes == 0) return;
  from == nullptr ? std::memset(to, 0, bytes) : std::memmove(to, from, bytes);
}

void ShiftTokens(const ConvTailParams& params) {
  const Shift shift(params);
  const uint64_t row = uint64_t{params.channels} * params.element_bytes;
  MoveOrClear(params.tail_in == nullptr ? nullptr : params.tail_in + shift.come * row,
              params.tail_out, shift.stay * row);
  for (uint64_t t = 0; t < shift.come; ++t) {
    std::memcpy(params.tail_out + (shift.stay + t) * row,
                shift.first_input + t * params.input_stride, row);
  }
}

template <typename Element>
void ShiftChannels(const ConvTailParams& params) {
  const Shift shift(params);
  const uint64_t row = params.width * sizeof(Element);
  for (uint64_t c = 0; c < params.channels; ++c) {
    std::byte* const to = params.tail_out + c * row;
    const std::byte* const from = params.tail_in == nullptr
                                      ? nullptr
                                      : params.tail_in + c * row + shift.come * sizeof(Element);
    MoveOrClear(from, to, shift.stay * sizeof(Element));
    for (uint64_t t = 0; t < shift.come; ++t) {
      std::memcpy(to + (shift.stay + t) * sizeof(Element),
                  shift.first_input + t * params.input_stride + c * sizeof(Element),
                  sizeof(Element));
    }
  }
}

}  // namespace

void ConvTailCpu(const ConvTailParams& params) {
  if (params.width == 0 || params.channels == 0) return;
  if (params.layout == ConvTailLayout::kTokenMajor) return ShiftTokens(params);
  params.element_bytes == 2 ? ShiftChannels<uint16_t>(params) : ShiftChannels<uint32_t>(params);
}

}  // namespace cistern::kernels
