#include "client_lib/src/unit_gather.h"

#include <algorithm>

#include "base/status_macros.h"
#include "client_lib/src/destination.h"
#include "client_lib/src/device/device_rows.h"

namespace cistern::client {
namespace {

constexpr uint32_t kLeastRows = 16;
constexpr uint64_t kDevicePieceBytes = 512 << 10;  // each waits for the device
constexpr uint32_t kRowsAhead = 4;
constexpr size_t kLine = 64;

}  // namespace

UnitGather::UnitGather(const base::ModelSpec& spec, const RowSource& rows, const TransferUnit& unit,
                       transport::MutableSlice memory)
    : spec_(&spec), rows_(&rows), unit_(unit), layer_(unit.layer_begin) {
  // No row is cut in two.
  memory_ = memory.first(
      std::min<uint64_t>(unit.bytes(), memory.size() / spec.row_bytes * spec.row_bytes));
  objects_.reserve(unit.object_end - unit.object_begin);
}

void UnitGather::Add(const NewSegment& segment) {
  Object object{.begin = segment.begin, .rows = segment.end - segment.begin};
  object.pre_rope = !rows_->pre_rope.empty() && segment.encoding != base::RotaryEncoding::kRotated;
  objects_.push_back(object);
}

uint32_t UnitGather::NextRows() const {
  const uint64_t row_bytes = spec_->row_bytes;
  const uint64_t piece = rows_->cache.device == nullptr ? kPieceBytes : kDevicePieceBytes;
  const uint64_t most = std::max<uint64_t>(piece / row_bytes / kLeastRows, 1) * kLeastRows;
  const uint64_t to_end = (memory_.size() - filled_ % memory_.size()) / row_bytes;
  return static_cast<uint32_t>(std::min<uint64_t>({most, to_end, objects_[object_].rows - token_}));
}

bool UnitGather::HasRoom(uint64_t taken) const {
  return filled_ - taken + uint64_t{NextRows()} * spec_->row_bytes <= memory_.size();
}

absl::Status UnitGather::Next(kernels::StoreHint stores) {
  const Object& object = objects_[object_];
  const uint32_t rows = NextRows();
  // The kernel counts from the object's first row, wherever that would lie.
  const uint64_t first = uint64_t{token_} * spec_->row_bytes;
  std::byte* const to = memory_.data() + filled_ % memory_.size();
  if (rows_->cache.device != nullptr) {
    CISTERN_RETURN_IF_ERROR(Take(object, rows, to));
    Advance(rows);
  } else {
    std::byte* const page = to - first;
    kernels::GatherParams piece = Piece(object, rows, &page);
    piece.stores = stores;
    Advance(rows);
    AskAhead();
    CISTERN_RETURN_IF_ERROR(kernels::Gather(piece));
  }
  filled_ += uint64_t{rows} * spec_->row_bytes;
  return absl::OkStatus();
}

void UnitGather::Restart() {
  filled_ = 0;
  layer_ = unit_.layer_begin;
  object_ = token_ = 0;
}

std::vector<transport::Slice> UnitGather::Payload() const {
  std::vector<transport::Slice> slices;
  for (uint64_t at = 0; at < unit_.bytes(); at += memory_.size()) {
    slices.push_back(memory_.first(std::min<uint64_t>(memory_.size(), unit_.bytes() - at)));
  }
  return slices;
}

kernels::GatherParams UnitGather::Piece(const Object& object, uint32_t rows,
                                        std::byte* const* page) const {
  kernels::GatherParams params;
  params.cache = ViewOf(rows_->cache);
  params.target.pages = page;
  params.target.num_pages = 1;
  params.target.page_rows = object.rows;
  params.target.layer_stride = unit_.layer_bytes;
  params.target.first_layer = layer_;
  params.target.num_layers = 1;
  params.target.row_bytes = spec_->row_bytes;
  params.range = {layer_, 1, token_, rows, object.begin + token_};
  params.rotary_offset = spec_->rotary_offset();
  if (!object.pre_rope) return params;
  const uint32_t end = object.begin + object.rows;  // each layer has a side buffer of its own
  params.k_r.rows = rows_->pre_rope[layer_];
  params.k_r.first_layer = layer_;
  params.k_r.num_layers = 1;
  params.k_r.num_tokens = end;
  params.k_r.layer_stride = uint64_t{end} * rows_->pre_rope_stride;
  params.k_r.token_stride = rows_->pre_rope_stride;
  params.k_r.bytes = spec_->rotary_bytes();
  return params;
}

absl::Status UnitGather::Take(const Object& object, uint32_t rows, std::byte* to) const {
  const uint32_t first = object.begin + token_;
  std::vector<DeviceMemory::Piece> pieces;
  AppendRows(ViewOf(rows_->cache), layer_, first, rows, spec_->row_bytes, to, spec_->row_bytes,
             &pieces);
  if (object.pre_rope) {  // over what the rows have there
    const std::byte* const k_r = rows_->pre_rope[layer_] + first * rows_->pre_rope_stride;
    pieces.push_back({.device = const_cast<std::byte*>(k_r),
                      .device_stride = rows_->pre_rope_stride,
                      .host = to + spec_->rotary_offset(),
                      .host_stride = spec_->row_bytes,
                      .row_bytes = spec_->rotary_bytes(),
                      .rows = rows});
  }
  return rows_->cache.device->FromDevice(pieces);
}

// Goes on to the piece behind the next `rows`.
void UnitGather::Advance(uint32_t rows) {
  token_ += rows;
  if (token_ < objects_[object_].rows) return;
  token_ = 0;
  if (++object_ < objects_.size()) return;
  object_ = 0;
  ++layer_;
}

// The processor does not know where the next piece begins.
void UnitGather::AskAhead() const {
  if (layer_ == unit_.layer_end) return;  // there is none
  const Object& object = objects_[object_];
  const kernels::ConstPagedCache cache = ViewOf(rows_->cache);
  for (uint32_t i = 0; i < std::min(kRowsAhead, object.rows - token_); ++i) {
    const std::byte* row = cache.Row(layer_, object.begin + token_ + i);
    for (size_t at = 0; at < spec_->row_bytes; at += kLine) __builtin_prefetch(row + at);
  }
}

}  // namespace cistern::client
