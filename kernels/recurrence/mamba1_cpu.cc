#include <algorithm>

#include "kernels/recurrence/mamba1.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/recurrence/mamba1_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/recurrence/chunk-inl.h"
#include "kernels/recurrence/exp-inl.h"
#include "kernels/recurrence/scratch.h"
#include "kernels/recurrence/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

inline constexpr size_t kMamba1Pass = kChunkTokens * kPassChunks;
inline constexpr size_t kChannelBlock = 16;

struct Mamba1Work {
  explicit Mamba1Work(const Mamba1Params& params)
      : width(PaddedWidth(params.state_dim)), state_dim(params.state_dim) {
    ScratchCutter cutter(params.scratch.data());
    b = cutter.Cut(kMamba1Pass * width);
    dt = cutter.Cut(kMamba1Pass * kChannelBlock);
    dtx = cutter.Cut(kMamba1Pass * kChannelBlock);
    dt_sums = cutter.Cut(kPassChunks * kChannelBlock);
    a_row = cutter.Cut(width);
    row = cutter.Cut(width);
  }
  const size_t width, state_dim;
  float* b;        // [256][width]
  float* dt;       // [256][16 channels]
  float* dtx;      // [256][16 channels]: dt x
  float* dt_sums;  // [16 chunks][16 channels]
  float* a_row;    // [width]
  float* row;      // [width]
};

// One row through `count` tokens; `channel` within its block. What a chunk of tokens adds is summed
// on its own: the row itself decays once a chunk, by e to a sum (chunk-inl.h says why).
HWY_INLINE void FoldRow(const Mamba1Work& work, size_t count, size_t channel) {
  const Floats df;
  for (size_t n = 0; n < work.width; n += kLanes) {
    const auto a = hn::Load(df, work.a_row + n);
    auto h = hn::Load(df, work.row + n);
    for (size_t first = 0; first < count; first += kChunk) {
      FloatVec added = hn::Zero(df);
      for (size_t t = first; t < std::min(count, first + kChunk); ++t) {
        const size_t at = t * kChannelBlock + channel;
        const auto decay = ExpOfLog(df, hn::Mul(a, hn::Set(df, work.dt[at])));
        const auto input =
            hn::Mul(hn::Set(df, work.dtx[at]), hn::Load(df, work.b + t * work.width + n));
        added = hn::MulAdd(decay, added, input);
      }
      const float sum = work.dt_sums[first / kChunk * kChannelBlock + channel];
      h = hn::MulAdd(ExpOfLog(df, hn::Mul(a, hn::Set(df, sum))), h, added);
    }
    hn::Store(h, df, work.row + n);
  }
}

HWY_INLINE void SumSteps(Mamba1Work& work, size_t count) {
  for (size_t first = 0; first < count; first += kChunk) {
    double sums[kChannelBlock] = {};
    for (size_t t = first; t < std::min(count, first + kChunk); ++t) {
      for (size_t c = 0; c < kChannelBlock; ++c) sums[c] += work.dt[t * kChannelBlock + c];
    }
    for (size_t c = 0; c < kChannelBlock; ++c) {
      work.dt_sums[first / kChunk * kChannelBlock + c] = static_cast<float>(sums[c]);
    }
  }
}

HWY_INLINE void LoadChannels(Mamba1Work& work, const Mamba1Item& item, size_t first, size_t count,
                             size_t channel, size_t num_channels) {
  const Floats df;
  for (size_t t = 0; t < count; ++t) {
    float* const dt = work.dt + t * kChannelBlock;
    float* const dtx = work.dtx + t * kChannelBlock;
    const auto bytes = [&](ElementType type) {
      return channel * (type == ElementType::kBf16 ? 2 : 4);
    };
    LoadFloats(item.dt.At(first + t, 0) + bytes(item.dt.type), item.dt.type, num_channels,
               kChannelBlock, dt);
    LoadFloats(item.x.At(first + t, 0) + bytes(item.x.type), item.x.type, num_channels,
               kChannelBlock, dtx);
    for (size_t c = 0; c < kChannelBlock; c += kLanes) {
      hn::Store(hn::Mul(hn::Load(df, dt + c), hn::Load(df, dtx + c)), df, dtx + c);
    }
  }
  SumSteps(work, count);
}

HWY_INLINE void Mamba1Pass(const Mamba1Params& params, Mamba1Work& work, const Mamba1Item& item,
                           const float* in, size_t first, size_t count) {
  for (size_t t = 0; t < count; ++t) {
    LoadFloats(item.b.At(first + t, 0), item.b.type, work.state_dim, work.width,
               work.b + t * work.width);
  }
  for (size_t c = 0; c < params.num_channels; c += kChannelBlock) {
    const size_t channels = std::min<size_t>(kChannelBlock, params.num_channels - c);
    LoadChannels(work, item, first, count, c, channels);
    for (size_t i = 0; i < channels; ++i) {
      const size_t at = (c + i) * work.state_dim;
      std::copy_n(params.a + at, work.state_dim, work.a_row);
      std::fill_n(work.row, work.width, 0.0f);
      if (in != nullptr) std::copy_n(in + at, work.state_dim, work.row);
      FoldRow(work, count, i);
      std::copy_n(work.row, work.state_dim, item.state_out + at);
    }
  }
}

void FoldMamba1Items(const Mamba1Params& params) {
  Mamba1Work work(params);
  std::fill_n(work.a_row, work.width, 0.0f);
  const size_t floats = size_t{params.num_channels} * params.state_dim;
  for (const Mamba1Item& item : params.items) {
    if (item.num_tokens == 0) {
      if (item.state_in == nullptr) {
        std::fill_n(item.state_out, floats, 0.0f);
      } else if (item.state_in != item.state_out) {
        std::copy_n(item.state_in, floats, item.state_out);
      }
    }
    const float* in = item.state_in;
    for (size_t first = 0; first < item.num_tokens; first += kMamba1Pass) {
      Mamba1Pass(params, work, item, in, first,
                 std::min<size_t>(kMamba1Pass, item.num_tokens - first));
      in = item.state_out;
    }
  }
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(FoldMamba1Items);

size_t Mamba1ScratchFloats(uint32_t state_dim) {
  const size_t pass = kChunkTokens * kPassChunks, width = PaddedWidth(state_dim);
  return pass * (width + 32) + kPassChunks * 16 + 2 * width + ScratchCutter::kAlignFloats;
}

void FoldMamba1Cpu(const Mamba1Params& params) { HWY_DYNAMIC_DISPATCH(FoldMamba1Items)(params); }

}  // namespace cistern::kernels
#endif  // HWY_ONCE
