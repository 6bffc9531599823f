#include "client_lib/src/span_mover.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "client_lib/src/device/device_rows.h"
#include "kernels/scatter/scatter.h"

namespace cistern::client {
namespace {

// Of host memory that rows go through on their way to a device.
constexpr uint64_t kDeviceStageBytes = 4 << 20;

}  // namespace

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
  if (destination_->device() != nullptr) return MoveToDevice(source, layer_begin, layer_end);
  CISTERN_RETURN_IF_ERROR(
      Scatter(source, destination_->View(), span_->begin, layer_begin, layer_end, stores));
  if (!pre_rope_) return absl::OkStatus();
  for (uint32_t layer = layer_begin; layer < layer_end; ++layer) {
    CopyPreRope(source, layer, destination_->PreRope(layer, span_->begin),
                destination_->pre_rope_stride());
  }
  return absl::OkStatus();
}

absl::Status SpanMover::Scatter(const kernels::SegmentRows& source,
                                const kernels::PagedCache& cache, uint32_t cache_token,
                                uint32_t layer_begin, uint32_t layer_end,
                                kernels::StoreHint stores) const {
  kernels::ScatterParams params;
  params.source = source;
  params.cache = cache;
  params.range = {layer_begin, layer_end - layer_begin, span_->first_token,
                  span_->end - span_->begin, cache_token};
  params.rotary_offset = model_->spec().rotary_offset();
  params.turns = &turns_;
  params.stores = stores;
  return kernels::Scatter(params);
}

void SpanMover::CopyPreRope(const kernels::SegmentRows& source, uint32_t layer, std::byte* to,
                            uint64_t stride) const {
  const base::ModelSpec& spec = model_->spec();
  for (uint32_t i = 0; i < span_->end - span_->begin; ++i) {
    std::memcpy(to + i * stride, source.Row(layer, span_->first_token + i) + spec.rotary_offset(),
                spec.rotary_bytes());
  }
}

// ---- A cache in device memory

absl::Status SpanMover::MoveToDevice(const kernels::SegmentRows& source, uint32_t layer_begin,
                                     uint32_t layer_end) const {
  const base::ModelSpec& spec = model_->spec();
  const uint64_t k_r_bytes = pre_rope_ ? spec.rotary_bytes() : 0;
  const uint64_t layer_bytes = (span_->end - span_->begin) * (spec.row_bytes + k_r_bytes);
  const auto step = static_cast<uint32_t>(
      std::clamp<uint64_t>(kDeviceStageBytes / layer_bytes, 1, layer_end - layer_begin));
  CISTERN_ASSIGN_OR_RETURN(const DeviceMemory::HostMemory stage,
                           destination_->device()->Stage(step * layer_bytes));
  for (uint32_t begin = layer_begin; begin < layer_end; begin += step) {
    const uint32_t end = std::min(begin + step, layer_end);
    CISTERN_RETURN_IF_ERROR(StageLayers(source, begin, end, layer_bytes, stage.get()));
    CISTERN_RETURN_IF_ERROR(
        destination_->device()->ToDevice(PiecesOf(begin, end, layer_bytes, stage.get())));
  }
  return absl::OkStatus();
}

absl::Status SpanMover::StageLayers(const kernels::SegmentRows& source, uint32_t begin,
                                    uint32_t end, uint64_t layer_bytes, std::byte* stage) const {
  const base::ModelSpec& spec = model_->spec();
  const uint32_t rows = span_->end - span_->begin;
  std::vector<std::byte*> layers(end, stage);  // those before `begin` are not looked at
  for (uint32_t layer = begin; layer < end; ++layer) {
    layers[layer] = stage + (layer - begin) * layer_bytes;
  }
  const int32_t only_block = 0;
  kernels::PagedCache staged;
  staged.layers = layers.data();
  staged.num_layers = end;
  staged.block_table = &only_block;
  staged.table_blocks = staged.num_blocks = 1;
  staged.block_size = rows;
  staged.block_stride = uint64_t{rows} * spec.row_bytes;
  staged.row_stride = spec.row_bytes;
  CISTERN_RETURN_IF_ERROR(Scatter(source, staged, 0, begin, end, kernels::StoreHint::kCached));
  if (!pre_rope_) return absl::OkStatus();
  for (uint32_t layer = begin; layer < end; ++layer) {
    CopyPreRope(source, layer, layers[layer] + staged.block_stride, spec.rotary_bytes());
  }
  return absl::OkStatus();
}

std::vector<DeviceMemory::Piece> SpanMover::PiecesOf(uint32_t begin, uint32_t end,
                                                     uint64_t layer_bytes, std::byte* stage) const {
  const base::ModelSpec& spec = model_->spec();
  const uint32_t rows = span_->end - span_->begin;
  std::vector<DeviceMemory::Piece> pieces;
  for (uint32_t layer = begin; layer < end; ++layer, stage += layer_bytes) {
    AppendRows(destination_->View(), layer, span_->begin, rows, spec.row_bytes, stage,
               spec.row_bytes, &pieces);
    if (!pre_rope_) continue;
    pieces.push_back({.device = destination_->PreRope(layer, span_->begin),
                      .device_stride = destination_->pre_rope_stride(),
                      .host = stage + uint64_t{rows} * spec.row_bytes,
                      .host_stride = spec.rotary_bytes(),
                      .row_bytes = spec.rotary_bytes(),
                      .rows = rows});
  }
  return pieces;
}

}  // namespace cistern::client
