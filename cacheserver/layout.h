// Where the bytes of an object lie in the arena, in the order that a payload has.
//
//   wire    for each layer: its rows, all tokens (messages.h, ReadRequest); a blob has one layer
//   disk    the pages in order, of each what is in use (storage/FORMAT.md)
//
// A page of a segment is [layer][16][row]; the last one may be part full: of it only the rows in
// use, layer by layer. The last block of a blob is cut at its end.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "base/arena_layout.h"
#include "base/model_spec.h"
#include "base/object.h"
#include "storage/store.h"
#include "transport/slice.h"

namespace cistern::cacheserver {

struct ObjectShape {
  uint32_t layers = 1;
  uint64_t layer_bytes = 0;  // of one layer, all tokens
  uint32_t tokens = 0;       // 0 for a blob
  uint32_t row_bytes = 0;
  uint64_t block_bytes = 0;
};

// FailedPrecondition for a segment whose model is not registered.
absl::StatusOr<ObjectShape> ShapeOf(const storage::Store& store, const base::ObjectHeader& header,
                                    uint64_t blob_block_bytes);

// Adds the slices of one layer. `arena` is the mapping's first byte; `blocks` are the object's, all
// of them.
void AppendLayer(std::byte* arena, const ObjectShape& shape,
                 const std::vector<base::BlockRef>& blocks, uint32_t layer,
                 std::vector<transport::MutableSlice>* slices);

// The slices of a record on disk.
std::vector<transport::MutableSlice> RecordSlices(std::byte* arena, const ObjectShape& shape,
                                                  const std::vector<base::BlockRef>& blocks);

std::vector<transport::Slice> AsConst(const std::vector<transport::MutableSlice>& slices);

}  // namespace cistern::cacheserver
