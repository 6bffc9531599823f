#include "client_lib/src/transfer_units.h"

#include <algorithm>

namespace cistern::client {

std::vector<TransferUnit> CutIntoUnits(std::span<const uint32_t> tokens, uint32_t num_layers,
                                       uint32_t row_bytes, const UnitCut& cut) {
  std::vector<TransferUnit> units;
  uint64_t all = 0;
  for (uint32_t count : tokens) all += uint64_t{count} * row_bytes;
  if (all == 0) return units;
  const auto num_objects = static_cast<uint32_t>(tokens.size());
  if (all <= cut.unit_bytes) {
    const auto most = static_cast<uint32_t>(std::min<uint64_t>(cut.unit_bytes / all, num_layers));
    for (uint32_t layer = 0; layer < num_layers; layer = units.back().layer_end) {
      const uint32_t layers = layer == 0 && cut.first_layer_alone ? 1 : most;
      units.push_back({layer, std::min(layer + layers, num_layers), 0, num_objects, all});
    }
    return units;
  }
  for (uint32_t layer = 0; layer < num_layers; ++layer) {
    TransferUnit unit{layer, layer + 1, 0, 0, 0};
    for (uint32_t i = 0; i < num_objects; ++i) {
      const uint64_t bytes = uint64_t{tokens[i]} * row_bytes;
      if (unit.layer_bytes > 0 && unit.layer_bytes + bytes > cut.unit_bytes) {
        units.push_back(unit);
        unit = {layer, layer + 1, i, i, 0};
      }
      unit.layer_bytes += bytes;
      unit.object_end = i + 1;
    }
    units.push_back(unit);
  }
  return units;
}

}  // namespace cistern::client
