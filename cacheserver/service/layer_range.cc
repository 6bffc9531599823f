#include "cacheserver/service/layer_range.h"

#include "absl/strings/str_cat.h"

namespace cistern::cacheserver {

absl::Status CheckLayerRange(LayerRange range, const std::vector<PlacedObject>& objects) {
  if (objects.empty()) return absl::InvalidArgumentError("no objects were named");
  if (range.begin >= range.end)
    return absl::InvalidArgumentError(
        absl::StrCat("layers [", range.begin, ", ", range.end, ") are none"));
  uint64_t slices = 0;
  for (const PlacedObject& object : objects) {
    if (range.end > object.shape.layers)
      return absl::InvalidArgumentError(absl::StrCat("layers [", range.begin, ", ", range.end,
                                                     ") of an object that has ",
                                                     object.shape.layers));
    slices += uint64_t{range.end - range.begin} * PiecesOfLayer(object.shape, object.blocks.size());
  }
  if (slices > kMaxPayloadSlices)
    return absl::InvalidArgumentError(
        absl::StrCat("a payload of ", slices, " pieces; at most ", kMaxPayloadSlices,
                     " go into one call: ask for fewer layers or objects"));
  return absl::OkStatus();
}

uint64_t PayloadBytes(LayerRange range, const std::vector<PlacedObject>& objects) {
  uint64_t bytes = 0;
  for (const PlacedObject& object : objects)
    bytes += object.shape.LayerBytes(range.begin, range.end);
  return bytes;
}

std::vector<transport::MutableSlice> PayloadSlices(std::byte* arena,
                                                   const std::vector<PlacedObject>& objects,
                                                   LayerRange range) {
  std::vector<transport::MutableSlice> slices;
  for (uint32_t layer = range.begin; layer < range.end; ++layer) {
    for (const PlacedObject& object : objects)
      AppendLayer(arena, object.shape, object.blocks, layer, &slices);
  }
  return slices;
}

}  // namespace cistern::cacheserver
