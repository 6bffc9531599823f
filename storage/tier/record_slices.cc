#include "storage/tier/record_slices.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

#include "base/model_spec.h"

namespace cistern::storage {
namespace {

constexpr uint32_t kPageTokens = base::ModelSpec::kPageTokens;

}  // namespace

absl::StatusOr<ObjectShape> ShapeOf(const Store& store, const base::ObjectHeader& header,
                                    uint64_t blob_block_bytes) {
  const base::ModelSpec* spec = store.FindModel(header.model);
  if (spec == nullptr && header.kind != base::ObjectKind::kBlob) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model ", header.model.ToHex(), " is not known to this node: register it, then try again"));
  }
  return ShapeOf(header, spec, blob_block_bytes);
}

uint32_t TokensOnPage(const ObjectShape& shape, size_t page) {
  return std::min<uint32_t>(kPageTokens, shape.tokens - static_cast<uint32_t>(page) * kPageTokens);
}

std::span<std::byte> PagePart(std::byte* arena, const ObjectShape& shape,
                              const base::BlockRef& block, size_t page, uint32_t layer) {
  const uint64_t layer_stride = uint64_t{kPageTokens} * shape.row_bytes;
  return {arena + block.offset + layer * layer_stride,
          uint64_t{TokensOnPage(shape, page)} * shape.row_bytes};
}

std::vector<std::span<std::byte>> BlockSlices(std::byte* arena, const ObjectShape& shape,
                                              const std::vector<base::BlockRef>& blocks,
                                              size_t begin, size_t end) {
  std::vector<std::span<std::byte>> slices;
  slices.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) {
    const uint64_t before = i * shape.block_bytes;
    slices.emplace_back(arena + blocks[i].offset,
                        std::min(shape.payload_bytes - before, shape.block_bytes));
  }
  return slices;
}

std::vector<std::span<std::byte>> RecordSlices(std::byte* arena, const ObjectShape& shape,
                                               const std::vector<base::BlockRef>& blocks) {
  if (!shape.is_segment()) return BlockSlices(arena, shape, blocks, 0, blocks.size());
  std::vector<std::span<std::byte>> slices;
  slices.reserve(blocks.size() + shape.layers);
  for (size_t page = 0; page < blocks.size(); ++page) {
    if (TokensOnPage(shape, page) == kPageTokens) {
      slices.emplace_back(arena + blocks[page].offset, shape.block_bytes);
      continue;
    }
    for (uint32_t layer = 0; layer < shape.layers; ++layer)
      slices.push_back(PagePart(arena, shape, blocks[page], page, layer));
  }
  return slices;
}

void CopyRuns(const std::vector<std::span<const std::byte>>& from,
              const std::vector<std::span<std::byte>>& to) {
  auto source = from.begin();
  size_t at = 0;
  for (std::span<std::byte> rest : to) {
    while (!rest.empty() && source != from.end()) {
      const size_t bytes = std::min(rest.size(), source->size() - at);
      if (bytes > 0) std::memcpy(rest.data(), source->data() + at, bytes);
      rest = rest.subspan(bytes);
      at += bytes;
      if (at < source->size()) continue;
      ++source;
      at = 0;
    }
  }
}

}  // namespace cistern::storage
