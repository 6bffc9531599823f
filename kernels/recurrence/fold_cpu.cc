#include <algorithm>

#include "kernels/recurrence/fold.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/recurrence/fold_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/recurrence/chunk-inl.h"
#include "kernels/recurrence/scratch.h"
#include "kernels/recurrence/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

// How far ahead of its reader a state is asked for, in blocks of rows.
inline constexpr size_t kBlocksAhead = 2;

// Everything of one call; all memory is the caller's scratch.
struct FoldWork {
  explicit FoldWork(const FoldParams& params)
      : shape(params.shape), width(PaddedWidth(params.shape.key_dim)) {
    ScratchCutter cutter(params.scratch.data());
    for (ChunkScratch& chunk : chunks) chunk = cutter.CutChunk(width);
    block = cutter.Cut(kBlock * width);
    values = cutter.Cut(256);
    value_lanes = cutter.Cut(256);
    seen = cutter.Cut(256);
    raw_keys = cutter.Cut(kChunk * width);
    logs = cutter.Cut(kChunk * width);
  }

  const RecurrenceShape& shape;
  const size_t width;
  ChunkScratch chunks[kPassChunks];
  float* block;        // [16][width]: rows between two chunks, or rows that fill no block
  float* values;       // [16 tokens][16 rows]
  float* value_lanes;  // [16 rows][16 tokens] (delta rules)
  float* seen;         // [16 rows][16 tokens]: what the rows answer to the keys (delta rules)
  float* raw_keys;     // [16][width]
  float* logs;         // [16][width]: of one chunk by channel

  // The pass under way.
  ChunkTokens tokens[kPassChunks];
  size_t num_chunks = 0;
};

// values = the chunk's values of 16 rows from `row` on, each token's times its `scale`, if any.
HWY_INLINE void LoadValues(FoldWork& work, const FoldItem& item, const ChunkTokens& tokens,
                           size_t head, size_t row, const float* scale) {
  const Floats df;
  const size_t count = std::min<size_t>(kBlock, work.shape.value_dim - row);
  const size_t row_bytes = row * (item.v.type == ElementType::kBf16 ? 2 : 4);
  for (size_t t = 0; t < tokens.count; ++t) {
    float* const values = work.values + t * kBlock;
    LoadFloats(item.v.At(tokens.first + t, head) + row_bytes, item.v.type, count, kBlock, values);
    if (scale == nullptr) continue;
    const auto factor = hn::Set(df, scale[t]);
    for (size_t r = 0; r < kBlock; r += kLanes) {
      hn::Store(hn::Mul(factor, hn::Load(df, values + r)), df, values + r);
    }
  }
}

// value_lanes = the chunk's values of 16 rows from `row` on.
HWY_INLINE void LoadValueLanes(FoldWork& work, const FoldItem& item, const ChunkTokens& tokens,
                               size_t head, size_t row) {
  const bool whole = tokens.count == kChunk && row + kBlock <= work.shape.value_dim;
  if (whole && item.v.type == ElementType::kBf16) {
    TransposeBf16(item.v.At(tokens.first, head) + 2 * row, item.v.token_stride, work.value_lanes);
    return;
  }
  LoadValues(work, item, tokens, head, row, nullptr);
  std::fill_n(work.values + tokens.count * kBlock, (kChunk - tokens.count) * kBlock, 0.0f);
  TransposeTokens(work.values, kBlock, kBlock, work.value_lanes);
}

// value_lanes = what goes into the rows at `in`: values less what the rows answer, solved.
HWY_INLINE void SolveLanes(FoldWork& work, const ChunkScratch& chunk, const float* in,
                           size_t in_stride, const float* ahead) {
  const Floats df;
  ahead == nullptr ? DotBlock<false>(in, in_stride, chunk.key_lanes, work.width, work.seen)
                   : DotBlock<true>(in, in_stride, chunk.key_lanes, work.width, work.seen, ahead);
  for (size_t n = 0; n < kChunk; n += kLanes) {
    const auto before = hn::Load(df, chunk.before + n);
    for (size_t at = n; at < 256; at += kChunk) {
      const auto value = hn::Load(df, work.value_lanes + at);
      hn::Store(hn::NegMulAdd(before, hn::Load(df, work.seen + at), value), df, work.seen + at);
    }
  }
  DotBlock(work.seen, kChunk, chunk.solve, kChunk, work.value_lanes);
}

// All chunks of the pass, for 16 rows that lie at `in` and go to `out`; between chunks they stay in
// `between`.
template <Recurrence kKind, bool kStream>
HWY_INLINE void FoldBlock(FoldWork& work, const FoldItem& item, size_t head, size_t row,
                          const float* in, size_t in_stride, float* out, size_t out_stride,
                          float* between, size_t between_stride) {
  const size_t ahead = kBlocksAhead * kBlock * in_stride;
  for (size_t c = 0; c < work.num_chunks; ++c) {
    const ChunkScratch& chunk = work.chunks[c];
    const size_t count = work.tokens[c].count;
    if constexpr (IsDelta(kKind)) {
      LoadValueLanes(work, item, work.tokens[c], head, row);
      SolveLanes(work, chunk, in, in_stride, c == 0 ? in + ahead : nullptr);
    } else {
      LoadValues(work, item, work.tokens[c], head, row, chunk.scale);
    }
    const bool last = c + 1 == work.num_chunks;
    const auto update = [&]<bool kToStream, bool kAhead>() {
      constexpr ValueOrder kOrder = IsDelta(kKind) ? ValueOrder::kByRow : ValueOrder::kByToken;
      UpdateBlock<kOrder, DecaysByChannel(kKind), kToStream, kAhead>(
          in, in_stride, last ? out : between, last ? out_stride : between_stride,
          IsDelta(kKind) ? work.value_lanes : work.values, chunk.keys, work.width, chunk.decay,
          count, ahead);
    };
    // The delta rules have asked already: reads then do not meet the writes of an update.
    constexpr bool kAsk = !IsDelta(kKind);
    // NOLINTBEGIN(bugprone-branch-clone): these differ, but not for every kind and width
    if (c == 0) {
      last ? update.template operator()<kStream, kAsk>()
           : update.template operator()<false, kAsk>();
    } else {
      last ? update.template operator()<kStream, false>()
           : update.template operator()<false, false>();
    }
    // NOLINTEND(bugprone-branch-clone)
    in = between;
    in_stride = between_stride;
  }
}

HWY_INLINE void CopyRows(const float* from, size_t from_stride, size_t num_rows, size_t count,
                         float* to, size_t to_stride) {
  for (size_t r = 0; r < num_rows; ++r) {
    std::copy_n(from + r * from_stride, count, to + r * to_stride);
  }
}

// Asks for a share of the pass's inputs for the next head, while rows of this one are worked on:
// all at once they would hold up the state.
template <Recurrence kKind>
HWY_INLINE void AskForNextHead(const FoldWork& work, const FoldItem& item, uint32_t head,
                               size_t row) {
  const RecurrenceShape& shape = work.shape;
  if (++head >= shape.num_heads) return;
  const ChunkTokens& last = work.tokens[work.num_chunks - 1];
  const size_t begin = work.tokens[0].first, pass = last.first + last.count - begin;
  const size_t from = pass * row / shape.value_dim;
  const size_t to = pass * std::min<size_t>(row + kBlock, shape.value_dim) / shape.value_dim;
  const uint32_t key_head = shape.key_head(head);
  AskForTokens(item.v, begin + from, to - from, head, shape.value_dim);
  if (DecaysByChannel(kKind)) {
    AskForTokens(item.decay.log, begin + from, to - from, head, shape.key_dim);
  }
  if (key_head != shape.key_head(head - 1)) {
    AskForTokens(item.k, begin + from, to - from, key_head, shape.key_dim);
  }
}

// All rows of one head, block by block. `in` null: zeros.
template <Recurrence kKind, bool kStream>
HWY_INLINE void FoldHead(FoldWork& work, const FoldItem& item, size_t head, const float* in,
                         float* out) {
  const size_t key_dim = work.shape.key_dim, value_dim = work.shape.value_dim;
  for (size_t row = 0; row < value_dim; row += kBlock) {
    AskForNextHead<kKind>(work, item, static_cast<uint32_t>(head), row);
    const size_t num_rows = std::min(kBlock, value_dim - row);
    const float* const from = in == nullptr ? nullptr : in + row * key_dim;
    float* const to = out + row * key_dim;
    const bool whole = num_rows == kBlock && key_dim == work.width;
    if (!whole || from == nullptr) {
      std::fill_n(work.block, kBlock * work.width, 0.0f);
      if (from != nullptr) CopyRows(from, key_dim, num_rows, key_dim, work.block, work.width);
    }
    if (whole) {
      FoldBlock<kKind, kStream>(work, item, head, row, from == nullptr ? work.block : from, key_dim,
                                to, key_dim, work.block, work.width);
    } else {
      FoldBlock<kKind, false>(work, item, head, row, work.block, work.width, work.block, work.width,
                              work.block, work.width);
      CopyRows(work.block, work.width, num_rows, key_dim, to, key_dim);
    }
  }
}

// Cuts the pass that begins at `first` into chunks; returns its tokens.
HWY_INLINE size_t StartPass(FoldWork& work, size_t first, size_t num_tokens) {
  const size_t end = std::min(num_tokens, first + kPassChunks * kChunk);
  work.num_chunks = 0;
  for (size_t t = first; t < end; t += kChunk) {
    work.tokens[work.num_chunks++] = {.first = t, .count = std::min(kChunk, end - t)};
  }
  return end - first;
}

// What heads with the same keys share.
template <Recurrence kKind>
HWY_INLINE void PrepareKeyHead(FoldWork& work, const FoldItem& item, size_t key_head) {
  if (DecaysByChannel(kKind)) return;
  for (size_t c = 0; c < work.num_chunks; ++c) {
    ChunkScratch& chunk = work.chunks[c];
    PackKeys(item.k, work.tokens[c], key_head, work.shape.key_dim, work.width, chunk.keys);
    if (IsDelta(kKind)) PairKeys(work.width, chunk);
  }
}

template <Recurrence kKind>
HWY_INLINE void PrepareHead(FoldWork& work, const FoldItem& item, size_t head) {
  for (size_t c = 0; c < work.num_chunks; ++c) {
    const ChunkTokens& tokens = work.tokens[c];
    ChunkScratch& chunk = work.chunks[c];
    if constexpr (DecaysByChannel(kKind)) {
      const uint32_t key_dim = work.shape.key_dim;
      PackKeys(item.k, tokens, work.shape.key_head(static_cast<uint32_t>(head)), key_dim,
               work.width, chunk.keys);
      LoadChannelLogs(item.decay, tokens, head, key_dim, work.width, work.logs);
    }
    if constexpr (kKind == Recurrence::kScalarDecay) {
      PrepareScalar(item.decay, item.weight, tokens, head, chunk);
    } else if constexpr (kKind == Recurrence::kDiagonalDecay) {
      PrepareDiagonal(work.logs, item.weight, tokens, head, work.width, chunk);
    } else if constexpr (kKind == Recurrence::kGatedDelta) {
      PrepareGatedDelta(item.decay, item.weight, tokens, head, chunk);
    } else {
      PrepareKda(item.weight, tokens, head, work.width, work.raw_keys, work.logs, chunk);
    }
  }
}

template <Recurrence kKind>
void FoldPass(FoldWork& work, const FoldItem& item, const float* in) {
  const RecurrenceShape& shape = work.shape;
  const bool stream = in != item.state_out &&
                      reinterpret_cast<uintptr_t>(item.state_out) % 64 == 0 &&
                      HWY_TARGET != HWY_SCALAR;
  for (uint32_t head = 0; head < shape.num_heads; ++head) {
    const uint32_t key_head = shape.key_head(head);
    if (head == 0 || key_head != shape.key_head(head - 1)) {
      PrepareKeyHead<kKind>(work, item, key_head);
    }
    PrepareHead<kKind>(work, item, head);
    const float* const from = in == nullptr ? nullptr : in + head * shape.head_floats();
    float* const to = item.state_out + head * shape.head_floats();
    stream ? FoldHead<kKind, true>(work, item, head, from, to)
           : FoldHead<kKind, false>(work, item, head, from, to);
  }
}

HWY_INLINE void CopyState(const FoldItem& item, size_t floats) {
  if (item.state_in == nullptr) {
    std::fill_n(item.state_out, floats, 0.0f);
  } else if (item.state_in != item.state_out) {
    std::copy_n(item.state_in, floats, item.state_out);
  }
}

template <Recurrence kKind>
HWY_INLINE void FoldItems(const FoldParams& params) {
  FoldWork work(params);
  for (const FoldItem& item : params.items) {
    if (item.num_tokens == 0) CopyState(item, params.shape.state_floats());
    const float* in = item.state_in;
    for (size_t first = 0; first < item.num_tokens;) {
      first += StartPass(work, first, item.num_tokens);
      FoldPass<kKind>(work, item, in);
      in = item.state_out;
    }
  }
  hwy::FlushStream();
}

void FoldScalarDecay(const FoldParams& params) { FoldItems<Recurrence::kScalarDecay>(params); }
void FoldDiagonalDecay(const FoldParams& params) { FoldItems<Recurrence::kDiagonalDecay>(params); }
void FoldGatedDelta(const FoldParams& params) { FoldItems<Recurrence::kGatedDelta>(params); }
void FoldKda(const FoldParams& params) { FoldItems<Recurrence::kKda>(params); }

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(FoldScalarDecay);
HWY_EXPORT(FoldDiagonalDecay);
HWY_EXPORT(FoldGatedDelta);
HWY_EXPORT(FoldKda);

size_t FoldScratchFloats(const RecurrenceShape& shape) {
  const size_t width = PaddedWidth(shape.key_dim);
  return kPassChunks * ChunkScratch::Floats(width) + 48 * width + 768 + ScratchCutter::kAlignFloats;
}

void FoldCpu(const FoldParams& params) {
  switch (params.shape.recurrence) {
    case Recurrence::kScalarDecay:
      return HWY_DYNAMIC_DISPATCH(FoldScalarDecay)(params);
    case Recurrence::kDiagonalDecay:
      return HWY_DYNAMIC_DISPATCH(FoldDiagonalDecay)(params);
    case Recurrence::kGatedDelta:
      return HWY_DYNAMIC_DISPATCH(FoldGatedDelta)(params);
    case Recurrence::kKda:
      return HWY_DYNAMIC_DISPATCH(FoldKda)(params);
  }
}

}  // namespace cistern::kernels
#endif  // HWY_ONCE
