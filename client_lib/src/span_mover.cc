#include "client_lib/src/span_mover.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "kernels/scatter/scatter.h"

namespace cistern::client {

absl::StatusOr<kernels::Turns> TurnsFor(const Model& model, base::RotaryArithmetic mine,
                                        const Span& span, const PlannedObject& object) {
  if (!model.spec().movable() || model.position_free()) return kernels::Turns();
  const uint32_t count = span.end - span.begin;
  if (object.encoding == base::RotaryEncoding::kUnrotated) {
    CISTERN_ASSIGN_OR_RETURN(const kernels::RotaryTable* table, model.Table(mine));
    return kernels::Turns::Place(*table, span.begin, count);
  }
  const uint32_t from = span.source_position;
  if (from == span.begin && object.arithmetic == mine) return kernels::Turns();
  if (uint64_t{std::max(from, span.begin)} + count <= kIdealAnglesEnd) {
    return kernels::Turns::ShiftIdeal(model.spec().rotary, int64_t{span.begin} - from);
  }
  CISTERN_ASSIGN_OR_RETURN(const kernels::RotaryTable* writer, model.Table(object.arithmetic));
  CISTERN_ASSIGN_OR_RETURN(const kernels::RotaryTable* reader, model.Table(mine));
  return kernels::Turns::ShiftTable(*writer, from, *reader, span.begin, count);
}

absl::StatusOr<SpanMover> SpanMover::Create(const Model& model, base::RotaryArithmetic mine,
                                            const Span& span, const PlannedObject& object,
                                            const Destination& destination, bool pre_rope) {
  CISTERN_ASSIGN_OR_RETURN(kernels::Turns turns, TurnsFor(model, mine, span, object));
  return SpanMover(model, span, destination, pre_rope, std::move(turns));
}

absl::Status SpanMover::Move(const kernels::SegmentRows& source, uint32_t layer_begin,
                             uint32_t layer_end, kernels::StoreHint stores) const {
  kernels::ScatterParams params;
  params.source = source;
  params.cache = destination_->View();
  params.range = {layer_begin, layer_end - layer_begin, span_->first_token,
                  span_->end - span_->begin, span_->begin};
  params.rotary_offset = model_->spec().rotary_offset();
  params.turns = &turns_;
  params.stores = stores;
  CISTERN_RETURN_IF_ERROR(kernels::Scatter(params));
  if (pre_rope_) {
    for (uint32_t layer = layer_begin; layer < layer_end; ++layer) CopyPreRope(source, layer);
  }
  return absl::OkStatus();
}

void SpanMover::CopyPreRope(const kernels::SegmentRows& source, uint32_t layer) const {
  const base::ModelSpec& spec = model_->spec();
  for (uint32_t i = 0; i < span_->end - span_->begin; ++i) {
    std::memcpy(destination_->PreRope(layer, span_->begin + i),
                source.Row(layer, span_->first_token + i) + spec.rotary_offset(),
                spec.rotary_bytes());
  }
}

}  // namespace cistern::client
