#include "cacheserver/layout.h"

namespace cistern::cacheserver {

using transport::MutableSlice;

void AppendLayer(std::byte* arena, const ObjectShape& shape,
                 const std::vector<base::BlockRef>& blocks, uint32_t layer,
                 std::vector<MutableSlice>* slices) {
  if (shape.tokens == 0) {
    const std::vector<MutableSlice> blob = storage::BlobSlices(arena, shape, blocks);
    slices->insert(slices->end(), blob.begin(), blob.end());
    return;
  }
  for (size_t page = 0; page < blocks.size(); ++page)
    slices->push_back(storage::PagePart(arena, shape, blocks[page], page, layer));
}

std::vector<transport::Slice> AsConst(const std::vector<MutableSlice>& slices) {
  return {slices.begin(), slices.end()};
}

}  // namespace cistern::cacheserver
