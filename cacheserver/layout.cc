#include "cacheserver/layout.h"

namespace cistern::cacheserver {

using transport::MutableSlice;

size_t PiecesOfLayer(const ObjectShape& shape, size_t num_blocks) {
  return shape.is_segment() || shape.layers == 1 ? num_blocks : 1;
}

void AppendLayer(std::byte* arena, const ObjectShape& shape,
                 const std::vector<base::BlockRef>& blocks, uint32_t layer,
                 std::vector<MutableSlice>* slices) {
  if (!shape.is_segment()) {
    const bool whole = shape.layers == 1;  // however many blocks a blob has
    const std::vector<MutableSlice> some = storage::BlockSlices(
        arena, shape, blocks, whole ? 0 : layer, whole ? blocks.size() : size_t{layer} + 1);
    slices->insert(slices->end(), some.begin(), some.end());
    return;
  }
  for (size_t page = 0; page < blocks.size(); ++page)
    slices->push_back(storage::PagePart(arena, shape, blocks[page], page, layer));
}

std::vector<transport::Slice> AsConst(const std::vector<MutableSlice>& slices) {
  return {slices.begin(), slices.end()};
}

}  // namespace cistern::cacheserver
