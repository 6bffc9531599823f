// Where the bytes of an object lie in the arena, in the order that a payload has.
//
//   wire    for each layer: its rows, all tokens (messages.h, ReadRequest); a blob has one layer,
//           and of state each block is a layer
//   disk    the blocks in order, of each what is in use (storage/tier/record_slices.h)
#pragma once

#include <cstdint>
#include <vector>

#include "base/arena_layout.h"
#include "storage/tier/record_slices.h"
#include "transport/slice.h"

namespace cistern::cacheserver {

using storage::ObjectShape;
using storage::RecordSlices;
using storage::ShapeOf;

// How many pieces one layer has.
size_t PiecesOfLayer(const ObjectShape& shape, size_t num_blocks);
// Adds the slices of one layer. `arena` is the mapping's first byte; `blocks` are the object's, all
// of them.
void AppendLayer(std::byte* arena, const ObjectShape& shape,
                 const std::vector<base::BlockRef>& blocks, uint32_t layer,
                 std::vector<transport::MutableSlice>* slices);

std::vector<transport::Slice> AsConst(const std::vector<transport::MutableSlice>& slices);

}  // namespace cistern::cacheserver
