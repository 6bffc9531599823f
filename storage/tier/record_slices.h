// Where the bytes of an object lie in an arena, in the order that its record has.
//
// Shape    the pages in order, of each what is in use (storage/FORMAT.md). A page of a segment is
//          [layer][16][row]; the last one may be part full: of it only the rows in use, layer by
//          layer. The last block of a blob or of a log is cut at its end
// Thread   any
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "base/arena_layout.h"
#include "base/object.h"
#include "storage/object_shape.h"
#include "storage/store.h"

namespace cistern::storage {

// FailedPrecondition when its model is not registered; InvalidArgument: see object_shape.h.
absl::StatusOr<ObjectShape> ShapeOf(const Store& store, const base::ObjectHeader& header,
                                    uint64_t blob_block_bytes);

// Of the last page of a segment fewer than the others.
uint32_t TokensOnPage(const ObjectShape& shape, size_t page);

// `arena` is the mapping's first byte; `blocks` are the object's, all of them.
std::vector<std::span<std::byte>> RecordSlices(std::byte* arena, const ObjectShape& shape,
                                               const std::vector<base::BlockRef>& blocks);
// Of all but segments: what is in use of blocks [begin, end).
std::vector<std::span<std::byte>> BlockSlices(std::byte* arena, const ObjectShape& shape,
                                              const std::vector<base::BlockRef>& blocks,
                                              size_t begin, size_t end);
// The rows of one layer on one page of a segment.
std::span<std::byte> PagePart(std::byte* arena, const ObjectShape& shape,
                              const base::BlockRef& block, size_t page, uint32_t layer);

// The bytes of `from`, in order, into `to`; both of the same size in all.
void CopyRuns(const std::vector<std::span<const std::byte>>& from,
              const std::vector<std::span<std::byte>>& to);

}  // namespace cistern::storage
