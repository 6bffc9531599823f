// A ring of inputs that is replayed onto each block of state rows, compiled once per Highway
// target. Include after foreach_target.h. K and V are multiples of 16.
#if defined(CISTERN_TOOLS_RING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CISTERN_TOOLS_RING_INL_H_
#undef CISTERN_TOOLS_RING_INL_H_
#else
#define CISTERN_TOOLS_RING_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/recurrence/chunk-inl.h"
#include "kernels/recurrence/decode.h"
#include "kernels/recurrence/scratch.h"
#include "kernels/recurrence/tile-inl.h"
#include "tools/bench/states/steps-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct RingWork {
  RingWork(const RecurrenceShape& shape, float* scratch)
      : shape(shape), width(PaddedWidth(shape.key_dim)) {
    ScratchCutter cutter(scratch);
    keys = cutter.Cut(kChunk * width);
    logs = cutter.Cut(kChunk * width);
    block = cutter.Cut(kBlock * width);
    decay = cutter.Cut(width);
    values = cutter.Cut(256);
    for (TokenRows& rows : fresh)
      rows = {cutter.Cut(width), cutter.Cut(width), cutter.Cut(width), cutter.Cut(width)};
  }
  const RecurrenceShape& shape;
  const size_t width;
  float* keys;    // [16][width]: D_{last,j} k_j, or k_j where decay is one number
  float* logs;    // [16][width]: of the ring's tokens, by channel
  float* block;   // [16][width]: rows as they are after the ring
  float* decay;   // [width], or one number
  float* values;  // [16 tokens][16 rows]
  HWY_ALIGN float after[kChunk];
  TokenRows fresh[tools::kRingNew];
};

// What the first `count` tokens of a ring do to any row.
HWY_INLINE void PrepareReplay(RingWork& work, const TokenArray& k, const DecayArray& decay,
                              size_t count, uint32_t head) {
  const ChunkTokens tokens{.first = 0, .count = count};
  PackKeys(k, tokens, work.shape.key_head(head), work.shape.key_dim, work.width, work.keys);
  if (DecaysByChannel(work.shape.recurrence)) {
    ChunkScratch chunk{};
    chunk.keys = work.keys;
    chunk.decay = work.decay;
    chunk.scale = work.after;
    LoadChannelLogs(decay, tokens, head, work.shape.key_dim, work.width, work.logs);
    PrepareDiagonal(work.logs, {}, tokens, head, work.width, chunk);
    return;
  }
  LogSums<kChunk> sums;
  SumLogs(decay, tokens, head, 0, 0, sums);
  work.decay[0] = DecaysAfter(sums, count, work.after);
}

// 16 rows from `row` on, after the first `count` tokens of the ring.
template <bool kStream>
HWY_INLINE void ReplayBlock(RingWork& work, const float* u, size_t u_stride, size_t count,
                            const float* in, float* out, size_t row) {
  const Floats df;
  for (size_t t = 0; t < count; ++t) {
    const auto scale = hn::Set(df, work.after[t]);
    for (size_t r = 0; r < kBlock; r += kLanes) {
      const auto value = hn::LoadU(df, u + t * u_stride + row + r);
      hn::Store(hn::Mul(scale, value), df, work.values + t * kBlock + r);
    }
  }
  constexpr ValueOrder kOrder = ValueOrder::kByToken;
  const size_t width = work.width, ahead = 2 * kBlock * width;
  if (DecaysByChannel(work.shape.recurrence)) {
    UpdateBlock<kOrder, true, kStream, true>(in, width, out, width, work.values, work.keys, width,
                                             work.decay, count, ahead);
  } else {
    UpdateBlock<kOrder, false, kStream, true>(in, width, out, width, work.values, work.keys, width,
                                              work.decay, count, ahead);
  }
}

// What a new token brings to 16 rows, and gets from them.
struct RingRows {
  const float* values;
  float* u;
  float* out;  // null: nobody asks
};

// The block's answers to one new token, and then the block after it.
template <bool kDelta, bool kAnswers>
HWY_INLINE void AskReplayed(RingWork& work, const TokenRows& token, const RingRows& rows,
                            bool more) {
  const Floats df;
  const size_t width = work.width;
  HWY_ALIGN float by_key[kBlock] = {}, by_query[kBlock];
  for (size_t r = 0; r < kBlock && (kDelta || kAnswers); r += 4) {
    AskFourRows<kDelta, kAnswers>(work.block + r * width, width, token.question, token.query, width,
                                  0, by_key + r, by_query + r);
  }
  const auto weight = hn::Set(df, token.weight), dot = hn::Set(df, token.key_query);
  for (size_t r = 0; r < kBlock; r += kLanes) {
    const auto value = hn::Sub(hn::LoadU(df, rows.values + r), hn::Load(df, by_key + r));
    const auto delta = hn::Mul(weight, value);
    hn::StoreU(delta, df, rows.u + r);
    if constexpr (kAnswers) {
      hn::StoreU(hn::MulAdd(dot, delta, hn::Load(df, by_query + r)), df, rows.out + r);
    }
  }
  if (!more) return;
  UpdateBlock<ValueOrder::kByToken, true, false, false>(
      work.block, width, work.block, width, rows.u, token.key, width, token.alpha, 1, 0);
}

template <bool kDelta, bool kAnswers>
HWY_INLINE void RingHead(RingWork& work, const DecodeItem& item, uint32_t head) {
  const RecurrenceShape& shape = work.shape;
  const size_t value_dim = shape.value_dim, at_head = head * value_dim;
  const size_t buffered = item.num_buffered;
  PrepareReplay(work, item.k, item.decay, buffered, head);
  for (size_t t = 0; t < item.num_new; ++t) {
    LoadTokenRows(shape, item.q, item.k, item.decay, item.weight, buffered + t, t, head,
                  work.fresh[t]);
  }
  const float* const state = item.state + head * shape.head_floats();
  for (size_t row = 0; row < value_dim; row += kBlock) {
    ReplayBlock<false>(work, item.u + at_head, item.u_token_stride, buffered,
                       state + row * work.width, work.block, row);
    for (size_t t = 0; t < item.num_new; ++t) {
      HWY_ALIGN float values[kBlock];
      const size_t row_bytes = row * (item.v.type == ElementType::kBf16 ? 2 : 4);
      LoadFloats(item.v.At(t, head) + row_bytes, item.v.type, kBlock, kBlock, values);
      RingRows rows{values, item.u + (buffered + t) * item.u_token_stride + at_head + row, nullptr};
      if (kAnswers) rows.out = item.out + t * item.out_token_stride + at_head + row;
      AskReplayed<kDelta, kAnswers>(work, work.fresh[t], rows, t + 1 < item.num_new);
    }
  }
}

HWY_INLINE TokenArray Later(TokenArray tokens, size_t by) {
  if (tokens.data != nullptr) tokens.data = tokens.At(by, 0);
  return tokens;
}

HWY_INLINE void FoldHeadThroughRing(RingWork& work, const FoldItem& item, float* u, uint32_t head) {
  const RecurrenceShape& shape = work.shape;
  const size_t row_floats = size_t{shape.num_heads} * shape.value_dim;
  const size_t at_head = head * shape.head_floats();
  const float* from = item.state_in;
  for (size_t first = 0; first < item.num_tokens; first += kChunk) {
    const size_t count = std::min(kChunk, item.num_tokens - first);
    DecodeItem token{.state = from,
                     .num_new = 1,
                     .k = Later(item.k, first),
                     .decay = {Later(item.decay.log, first), item.decay.rates},
                     .u = u + first * row_floats,
                     .u_token_stride = row_floats};
    for (size_t t = 0; t < count; ++t) {
      token.v = Later(item.v, first + t);
      token.weight = Later(item.weight, first + t);
      token.num_buffered = static_cast<uint32_t>(t);
      if (IsDelta(shape.recurrence)) {
        RingHead<true, false>(work, token, head);
        continue;
      }
      float* const to = token.u + t * row_floats + head * size_t{shape.value_dim};
      LoadFloats(token.v.At(0, head), token.v.type, shape.value_dim, shape.value_dim, to);
      const float weight = WeightAt(token.weight, 0, head);
      for (size_t i = 0; i < shape.value_dim; ++i) to[i] *= weight;
    }
    PrepareReplay(work, token.k, token.decay, count, head);
    const float* const u_head = token.u + head * size_t{shape.value_dim};
    const bool stream = first + count == item.num_tokens && from != item.state_out;
    for (size_t row = 0; row < shape.value_dim; row += kBlock) {
      const size_t at = at_head + row * work.width;
      const float* const in = from + at;
      float* const out = item.state_out + at;
      stream ? ReplayBlock<true>(work, u_head, row_floats, count, in, out, row)
             : ReplayBlock<false>(work, u_head, row_floats, count, in, out, row);
    }
    from = item.state_out;
  }
}

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CISTERN_TOOLS_RING_INL_H_
