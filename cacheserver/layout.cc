#include "cacheserver/layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace cistern::cacheserver {

using transport::MutableSlice;

absl::StatusOr<ObjectShape> ShapeOf(const storage::Store& store, const base::ObjectHeader& header,
                                    uint64_t blob_block_bytes) {
  if (header.kind == base::ObjectKind::kBlob)
    return ObjectShape{.layer_bytes = header.blob_bytes, .block_bytes = blob_block_bytes};
  const base::ModelSpec* spec = store.FindModel(header.model);
  if (spec == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model ", header.model.ToHex(), " is not known to this node: register it, then try again"));
  }
  return ObjectShape{.layers = spec->num_layers,
                     .layer_bytes = uint64_t{header.num_tokens()} * spec->row_bytes,
                     .tokens = header.num_tokens(),
                     .row_bytes = spec->row_bytes,
                     .block_bytes = spec->page_bytes()};
}

namespace {

constexpr uint32_t kPageTokens = base::ModelSpec::kPageTokens;

uint32_t TokensOnPage(const ObjectShape& shape, size_t page) {
  return std::min<uint32_t>(kPageTokens, shape.tokens - static_cast<uint32_t>(page) * kPageTokens);
}

void AppendPart(std::byte* arena, const ObjectShape& shape, const base::BlockRef& block,
                size_t page, uint32_t layer, std::vector<MutableSlice>* slices) {
  const uint64_t layer_stride = uint64_t{kPageTokens} * shape.row_bytes;
  slices->emplace_back(arena + block.offset + layer * layer_stride,
                       uint64_t{TokensOnPage(shape, page)} * shape.row_bytes);
}

void AppendBlob(std::byte* arena, const ObjectShape& shape,
                const std::vector<base::BlockRef>& blocks, std::vector<MutableSlice>* slices) {
  uint64_t left = shape.layer_bytes;
  for (const base::BlockRef& block : blocks) {
    const uint64_t bytes = std::min(left, shape.block_bytes);
    slices->emplace_back(arena + block.offset, bytes);
    left -= bytes;
  }
}

}  // namespace

void AppendLayer(std::byte* arena, const ObjectShape& shape,
                 const std::vector<base::BlockRef>& blocks, uint32_t layer,
                 std::vector<MutableSlice>* slices) {
  if (shape.tokens == 0) return AppendBlob(arena, shape, blocks, slices);
  for (size_t page = 0; page < blocks.size(); ++page)
    AppendPart(arena, shape, blocks[page], page, layer, slices);
}

std::vector<MutableSlice> RecordSlices(std::byte* arena, const ObjectShape& shape,
                                       const std::vector<base::BlockRef>& blocks) {
  std::vector<MutableSlice> slices;
  if (shape.tokens == 0) {
    AppendBlob(arena, shape, blocks, &slices);
    return slices;
  }
  for (size_t page = 0; page < blocks.size(); ++page) {
    if (TokensOnPage(shape, page) == kPageTokens) {
      slices.emplace_back(arena + blocks[page].offset, shape.block_bytes);
      continue;
    }
    for (uint32_t layer = 0; layer < shape.layers; ++layer)
      AppendPart(arena, shape, blocks[page], page, layer, &slices);
  }
  return slices;
}

std::vector<transport::Slice> AsConst(const std::vector<MutableSlice>& slices) {
  return {slices.begin(), slices.end()};
}

}  // namespace cistern::cacheserver
