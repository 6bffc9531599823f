#include <algorithm>

#include "kernels/recurrence/decode.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/recurrence/decode_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/recurrence/scratch.h"
#include "kernels/recurrence/tile-inl.h"
#include "kernels/recurrence/window-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cistern::kernels::HWY_NAMESPACE {

inline constexpr size_t kReadAhead = 3;  // blocks of rows

struct DecodeWork {
  explicit DecodeWork(const DecodeParams& params)
      : shape(params.shape),
        columns(PaddedWidth(params.shape.value_dim)),
        cutter(params.scratch.data()),
        window(params.shape, cutter),
        block(cutter.Cut(kBlock * window.width)),
        answers(cutter.Cut(256)),
        seen(cutter.Cut(2 * kGroup * columns)),
        values(cutter.Cut(kGroup * columns)) {}

  const RecurrenceShape& shape;
  const size_t columns;
  ScratchCutter cutter;
  Window window;
  float* block;    // [16][width]: rows that fill no block
  float* answers;  // [16][16]
  float* seen;     // [16][columns]: what the state answers to each question
  float* values;   // [8][columns]
};

// All questions of the group to 16 rows.
template <bool kDelta>
HWY_INLINE void AskBlock(DecodeWork& work, const float* rows, size_t stride, size_t row) {
  const Window& window = work.window;
  const size_t ahead = kReadAhead * kBlock * stride;
  if (window.count == 1) {
    for (size_t r = 0; r < kBlock; r += 4) {
      AskFourRows<kDelta>(rows + r * stride, stride, window.questions,
                          window.questions + kGroup * window.width, window.width, ahead,
                          work.seen + row + r, work.seen + kGroup * work.columns + row + r);
    }
    return;
  }
  HWY_ALIGN float by_row[256];
  DotBlock<true>(rows, stride, window.lanes, window.width, by_row, rows + ahead);
  TransposeTokens(by_row, kChunk, kChunk, work.answers);
  for (size_t q = 0; q < 2 * kGroup; ++q) {
    std::copy_n(work.answers + q * kBlock, kBlock, work.seen + q * work.columns + row);
  }
}

template <bool kDelta>
HWY_INLINE void AskState(DecodeWork& work, const float* state) {
  const size_t key_dim = work.shape.key_dim, value_dim = work.shape.value_dim;
  if (state == nullptr) {
    std::fill_n(work.seen, 2 * kGroup * work.columns, 0.0f);
    return;
  }
  const size_t width = work.window.width;
  for (size_t row = 0; row < value_dim; row += kBlock) {
    const size_t num_rows = std::min(kBlock, value_dim - row);
    const float* const from = state + row * key_dim;
    if (num_rows == kBlock && key_dim == width) {
      AskBlock<kDelta>(work, from, key_dim, row);
      continue;
    }
    std::fill_n(work.block, kBlock * width, 0.0f);
    for (size_t r = 0; r < num_rows; ++r) {
      std::copy_n(from + r * key_dim, key_dim, work.block + r * width);
    }
    AskBlock<kDelta>(work, work.block, width, row);
  }
}

// u and out of the group's tokens, for kVecs vectors of value channels from `column` on.
template <bool kDelta, size_t kVecs, class D>
HWY_INLINE void FinishColumns(D df, DecodeWork& work, size_t head, size_t column) {
  const Window& window = work.window;
  const DecodeItem& item = *window.item;
  const size_t lanes = hn::Lanes(df);
  const size_t at_head = head * work.shape.value_dim + column;
  for (size_t t = 0; t < window.count; ++t) {
    const size_t token = window.past(t);
    const float* const with_key = window.with_key + t * kMaxDecodeTokens;
    const float* const with_query = window.with_query + t * kMaxDecodeTokens;
    const auto before = hn::Set(df, window.before[t]);
    const auto weight = hn::Set(df, WeightAt(item.weight, window.first + t, head));
    hn::Vec<D> u[kVecs], out[kVecs];
    for (size_t n = 0; n < kVecs; ++n) {
      const size_t at = column + n * lanes;
      u[n] = hn::LoadU(df, work.values + t * work.columns + at);
      out[n] = hn::Mul(before, hn::LoadU(df, work.seen + (kGroup + t) * work.columns + at));
      if constexpr (kDelta) {
        u[n] = hn::NegMulAdd(before, hn::LoadU(df, work.seen + t * work.columns + at), u[n]);
      }
    }
    for (size_t i = 0; i < token; ++i) {
      const float* const past = item.u + i * item.u_token_stride + at_head;
      const auto a = hn::Set(df, with_key[i]), p = hn::Set(df, with_query[i]);
      for (size_t n = 0; n < kVecs; ++n) {
        const auto value = hn::LoadU(df, past + n * lanes);
        if constexpr (kDelta) u[n] = hn::NegMulAdd(a, value, u[n]);
        out[n] = hn::MulAdd(p, value, out[n]);
      }
    }
    const auto p = hn::Set(df, with_query[token]);
    for (size_t n = 0; n < kVecs; ++n) {
      const auto value = hn::Mul(weight, u[n]);
      hn::StoreU(value, df, item.u + token * item.u_token_stride + at_head + n * lanes);
      hn::StoreU(hn::MulAdd(p, value, out[n]), df,
                 item.out + (window.first + t) * item.out_token_stride + at_head + n * lanes);
    }
  }
}

template <bool kDelta>
HWY_INLINE void Finish(DecodeWork& work, size_t head) {
  const DecodeItem& item = *work.window.item;
  for (size_t t = 0; t < work.window.count; ++t) {
    LoadFloats(item.v.At(work.window.first + t, head), item.v.type, work.shape.value_dim,
               work.columns, work.values + t * work.columns);
  }
  constexpr size_t kVecs = 4;
  const size_t columns = work.shape.value_dim;
  size_t column = 0;
  for (; column + kVecs * kLanes <= columns; column += kVecs * kLanes) {
    FinishColumns<kDelta, kVecs>(Floats(), work, head, column);
  }
  for (; column + kLanes <= columns; column += kLanes) {
    FinishColumns<kDelta, 1>(Floats(), work, head, column);
  }
  for (; column < columns; ++column) {
    FinishColumns<kDelta, 1>(hn::CappedTag<float, 1>(), work, head, column);
  }
}

// What this head needs behind the state, and what the next one needs before it.
template <Recurrence kKind>
HWY_INLINE void AskForWindow(const Window& window, uint32_t head) {
  const RecurrenceShape& shape = window.shape;
  const DecodeItem& item = *window.item;
  const TokenArray past{item.u, ElementType::kFloat32, item.u_token_stride, shape.value_dim};
  AskForTokens(past, 0, window.past(0), head, shape.value_dim);
  AskForTokens(item.v, window.first, window.count, head, shape.value_dim);
  if (++head == shape.num_heads) return;
  const uint32_t key_head = shape.key_head(head);
  if (DecaysByChannel(kKind)) {
    AskForTokens(item.decay.log, 0, window.num_tokens(), head, shape.key_dim);
  }
  if (key_head == shape.key_head(head - 1)) return;
  AskForTokens(item.k, 0, window.num_tokens(), key_head, shape.key_dim);
  AskForTokens(item.q, window.first, window.count, key_head, shape.key_dim);
}

template <Recurrence kKind>
HWY_INLINE void DecodeGroup(DecodeWork& work) {
  const RecurrenceShape& shape = work.shape;
  const float* const state = work.window.item->state;
  for (uint32_t head = 0; head < shape.num_heads; ++head) {
    if constexpr (DecaysByChannel(kKind)) {
      WalkWindow(work.window, head);
    } else {
      const uint32_t key_head = shape.key_head(head);
      if (head == 0 || key_head != shape.key_head(head - 1)) PairWindow(work.window, key_head);
      DecayWindow(work.window, head);
    }
    AskForWindow<kKind>(work.window, head);
    AskState<IsDelta(kKind)>(work, state == nullptr ? nullptr : state + head * shape.head_floats());
    Finish<IsDelta(kKind)>(work, head);
  }
}

template <Recurrence kKind>
HWY_INLINE void DecodeItems(const DecodeParams& params) {
  DecodeWork work(params);
  for (const DecodeItem& item : params.items) {
    work.window.item = &item;
    for (size_t first = 0; first < item.num_new; first += kGroup) {
      work.window.first = first;
      work.window.count = std::min<size_t>(kGroup, item.num_new - first);
      DecodeGroup<kKind>(work);
    }
  }
}

void DecodeScalarDecay(const DecodeParams& params) {
  DecodeItems<Recurrence::kScalarDecay>(params);
}
void DecodeDiagonalDecay(const DecodeParams& params) {
  DecodeItems<Recurrence::kDiagonalDecay>(params);
}
void DecodeGatedDelta(const DecodeParams& params) { DecodeItems<Recurrence::kGatedDelta>(params); }
void DecodeKda(const DecodeParams& params) { DecodeItems<Recurrence::kKda>(params); }

}  // namespace cistern::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cistern::kernels {

HWY_EXPORT(DecodeScalarDecay);
HWY_EXPORT(DecodeDiagonalDecay);
HWY_EXPORT(DecodeGatedDelta);
HWY_EXPORT(DecodeKda);

size_t DecodeScratchFloats(const RecurrenceShape& shape) {
  const size_t width = PaddedWidth(shape.key_dim), columns = PaddedWidth(shape.value_dim);
  constexpr size_t kGroup = kDecodeGroup, kTokens = kMaxDecodeTokens;
  return (6 * kGroup + 2 + 2 * kTokens + 2 * kTokens / kChunkTokens) * width +
         4 * kGroup * kTokens + 16 * width + 256 + 3 * kGroup * columns +
         ScratchCutter::kAlignFloats;
}

void DecodeCpu(const DecodeParams& params) {
  switch (params.shape.recurrence) {
    case Recurrence::kScalarDecay:
      return HWY_DYNAMIC_DISPATCH(DecodeScalarDecay)(params);
    case Recurrence::kDiagonalDecay:
      return HWY_DYNAMIC_DISPATCH(DecodeDiagonalDecay)(params);
    case Recurrence::kGatedDelta:
      return HWY_DYNAMIC_DISPATCH(DecodeGatedDelta)(params);
    case Recurrence::kKda:
      return HWY_DYNAMIC_DISPATCH(DecodeKda)(params);
  }
}

}  // namespace cistern::kernels
#endif  // HWY_ONCE
