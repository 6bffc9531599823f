// Puts the rows of one span into the worker's cache: scatter and rotation in one pass, k_r before
// RoPE beside it.
//
// Thread   one at a time; movers of different spans may run side by side
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "cistern/device_memory.h"
#include "cistern/plan.h"
#include "client_lib/src/destination.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/plan_impl.h"
#include "kernels/rotary/turns.h"
#include "kernels/rows.h"

namespace cistern::client {

// Past this position an engine's own fp32 angles are off by 1e-3 rad and more: rotated rows then
// move by the ratio of the engines' tables, which has the same error as their rows, and not by the
// ideal angle.
inline constexpr uint64_t kIdealAnglesEnd = 100'000;

// How the rows of `span` turn on their way from `object`: not at all when position means nothing or
// is the same; `unrotated` ones by this worker's own arithmetic (bit for bit what it would have
// computed); `rotated` ones by the difference, from where they were stored.
absl::StatusOr<kernels::Turns> TurnsFor(const Model& model, base::RotaryArithmetic mine,
                                        const Span& span, const PlannedObject& object);

class SpanMover {
 public:
  // `model`, `span` and `destination` outlive the mover.
  static absl::StatusOr<SpanMover> Create(const Model& model, base::RotaryArithmetic mine,
                                          const Span& span, const PlannedObject& object,
                                          const Destination& destination, bool pre_rope);

  // `source`: the whole object's rows of (at least) these layers.
  absl::Status Move(const kernels::SegmentRows& source, uint32_t layer_begin, uint32_t layer_end,
                    kernels::StoreHint stores) const;

  bool pre_rope() const { return pre_rope_; }

 private:
  SpanMover(const Model& model, const Span& span, const Destination& destination, bool pre_rope,
            kernels::Turns turns)
      : model_(&model),
        span_(&span),
        destination_(&destination),
        pre_rope_(pre_rope),
        turns_(std::move(turns)) {}

  absl::Status Scatter(const kernels::SegmentRows& source, const kernels::PagedCache& cache,
                       uint32_t cache_token, uint32_t layer_begin, uint32_t layer_end,
                       kernels::StoreHint stores) const;
  // Of tokens that lie at `to`, `stride` bytes apart.
  void CopyPreRope(const kernels::SegmentRows& source, uint32_t layer, std::byte* to,
                   uint64_t stride) const;

  // Turned in host memory, then copied.
  absl::Status MoveToDevice(const kernels::SegmentRows& source, uint32_t layer_begin,
                            uint32_t layer_end) const;
  // Layers [begin, end) in `stage`, layer_bytes each: rows, then k_r before RoPE if it is wanted.
  absl::Status StageLayers(const kernels::SegmentRows& source, uint32_t begin, uint32_t end,
                           uint64_t layer_bytes, std::byte* stage) const;
  std::vector<DeviceMemory::Piece> PiecesOf(uint32_t begin, uint32_t end, uint64_t layer_bytes,
                                            std::byte* stage) const;

  const Model* model_;
  const Span* span_;
  const Destination* destination_;
  bool pre_rope_;
  kernels::Turns turns_;
};

}  // namespace cistern::client
