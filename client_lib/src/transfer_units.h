// How rows that go by copy are cut into calls: in layer order, each of half a MiB.
//
// A payload is dense: for each layer, for each object of the unit, its rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/rows.h"

namespace cistern::client {

// Small, so that every step finds a unit in a cache still, and that the steps of several units
// overlap: the node's checksum, its send, the receive, the check, the scatter
// (transport/ucx/README.md has the figures).
inline constexpr uint64_t kUnitBytes = 512 << 10;
inline constexpr uint32_t kUnitsInFlight = 6;

struct TransferUnit {
  uint32_t layer_begin = 0;
  uint32_t layer_end = 0;
  uint32_t object_begin = 0;  // indexes into the list of objects
  uint32_t object_end = 0;
  uint64_t layer_bytes = 0;  // of one layer of its objects

  uint64_t bytes() const { return layer_bytes * (layer_end - layer_begin); }
};

// Objects of `tokens` rows each. Several layers of all objects in a unit where they fit into
// `unit_bytes`; otherwise one layer of as many objects as fit, but of one at least. Units ascend by
// layer, then by object.
std::vector<TransferUnit> CutIntoUnits(std::span<const uint32_t> tokens, uint32_t num_layers,
                                       uint32_t row_bytes, uint64_t unit_bytes = kUnitBytes);

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
