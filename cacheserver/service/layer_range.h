// What a Read or Write of some layers of some objects consists of.
//
// Shape    dense: for each layer of [begin, end), for each object, its rows; a blob has one layer,
//          of state each block is one
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

#include "base/arena_layout.h"
#include "cacheserver/layout.h"
#include "transport/slice.h"

namespace cistern::cacheserver {

inline constexpr uint64_t kMaxPayloadSlices = 1 << 20;  // of one call

struct LayerRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};

struct PlacedObject {
  ObjectShape shape;
  std::vector<base::BlockRef> blocks;
};

// InvalidArgument: no objects, an empty range, a layer that an object has not, or too much at once.
absl::Status CheckLayerRange(LayerRange range, const std::vector<PlacedObject>& objects);

uint64_t PayloadBytes(LayerRange range, const std::vector<PlacedObject>& objects);

std::vector<transport::MutableSlice> PayloadSlices(std::byte* arena,
                                                   const std::vector<PlacedObject>& objects,
                                                   LayerRange range);

}  // namespace cistern::cacheserver
