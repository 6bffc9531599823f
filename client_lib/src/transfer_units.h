// How rows that go by copy are cut into calls: in layer order.
//
// A payload is dense: for each layer, for each object of the unit, its rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/rows.h"

namespace cistern::client {

struct UnitCut {
  uint64_t unit_bytes = 0;
  uint32_t in_flight = 1;          // calls at once
  bool first_layer_alone = false;  // a unit of its own
};

// For a caller who waits for the whole: fewer calls (transport/ucx/README.md has the figures).
inline constexpr UnitCut kWholeCut = {.unit_bytes = 2 << 20, .in_flight = 4};
// For one who may wait for a layer: it is not to come much later than its bytes.
inline constexpr UnitCut kLayerwiseCut = {
    .unit_bytes = 512 << 10, .in_flight = 6, .first_layer_alone = true};

struct TransferUnit {
  uint32_t layer_begin = 0;
  uint32_t layer_end = 0;
  uint32_t object_begin = 0;  // indexes into the list of objects
  uint32_t object_end = 0;
  uint64_t layer_bytes = 0;  // of one layer of its objects

  uint64_t bytes() const { return layer_bytes * (layer_end - layer_begin); }
};

// Objects of `tokens` rows each. Several layers of all objects in a unit where they fit into
// `cut.unit_bytes`; otherwise one layer of as many objects as fit, but of one at least. Units
// ascend by layer, then by object.
std::vector<TransferUnit> CutIntoUnits(std::span<const uint32_t> tokens, uint32_t num_layers,
                                       uint32_t row_bytes, const UnitCut& cut);

// Where each object of a unit lies in its payload.
template <typename Byte>
class UnitRows {
 public:
  UnitRows(const TransferUnit& unit, std::span<const uint32_t> tokens, uint32_t row_bytes,
           Byte* payload)
      : unit_(unit), tokens_(tokens), row_bytes_(row_bytes), at_(payload) {}

  // Of the unit's next object. The result points into this.
  kernels::BasicSegmentRows<Byte> Next() {
    page_ = at_;
    const uint32_t rows = tokens_[unit_.object_begin + next_++];
    at_ += uint64_t{rows} * row_bytes_;
    kernels::BasicSegmentRows<Byte> segment;
    segment.pages = &page_;
    segment.num_pages = 1;
    segment.page_rows = rows;
    segment.layer_stride = unit_.layer_bytes;
    segment.first_layer = unit_.layer_begin;
    segment.num_layers = unit_.layer_end - unit_.layer_begin;
    segment.row_bytes = row_bytes_;
    return segment;
  }

 private:
  const TransferUnit unit_;
  const std::span<const uint32_t> tokens_;
  const uint32_t row_bytes_;
  Byte* at_;
  Byte* page_ = nullptr;
  uint32_t next_ = 0;
};

}  // namespace cistern::client
