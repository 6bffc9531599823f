// The tail of a short causal convolution after C more tokens: its last W inputs, which are all that
// the layer's next outputs need of the past (W = kernel width - 1).
//
//   tail_out = the last W of (tail_in, then inputs), oldest first
//
// Shapes   tails [W, channels] (kTokenMajor: vLLM's default, SGLang's KDA) or [channels, W]
//          (kChannelMajor: SGLang, Mamba's own) · inputs [C, channels], before the convolution
// Units    element_bytes: 2 (bf16) or 4 (float32); input_stride in bytes
// Needs    tail_out is tail_in or does not overlap it; inputs overlap neither. No alignment
// Zero     tail_in null: zeros. C = 0 copies; W = 0: nothing happens
// Exact    bytes are moved, never changed
// Thread   any; keeps no state
// Errors   InvalidArgument names the field; nothing is written then
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace cistern::kernels {

enum class ConvTailLayout : uint8_t { kTokenMajor, kChannelMajor };

struct ConvTailParams {
  ConvTailLayout layout = ConvTailLayout::kTokenMajor;
  uint32_t width = 0;  // W
  uint32_t channels = 0;
  uint32_t element_bytes = 2;
  const std::byte* tail_in = nullptr;
  std::byte* tail_out = nullptr;
  const std::byte* inputs = nullptr;
  uint64_t input_stride = 0;  // from one token to the next
  uint32_t num_tokens = 0;    // C

  static constexpr uint32_t kMaxWidth = 64;
};

absl::Status ValidateConvTail(const ConvTailParams& params);

// Validates, then ConvTailCpu.
absl::Status ConvTail(const ConvTailParams& params);

// The definition (it allocates), and the fast form that equals it byte for byte. Params are not
// checked.
void ConvTailRef(const ConvTailParams& params);
void ConvTailCpu(const ConvTailParams& params);

}  // namespace cistern::kernels
