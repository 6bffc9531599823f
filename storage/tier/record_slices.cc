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

uint32_t TokensOnPage(const ObjectShape& shape, size_t page) {
  return std::min<uint32_t>(kPageTokens, shape.tokens - static_cast<uint32_t>(page) * kPageTokens);
}

std::span<std::byte> PagePart(std::byte* arena, const ObjectShape& shape,
                              const base::BlockRef& block, size_t page, uint32_t layer) {
  const uint64_t layer_stride = uint64_t{kPageTokens} * shape.row_bytes;
  return {arena + block.offset + layer * layer_stride,
          uint64_t{TokensOnPage(shape, page)} * shape.row_bytes};
}

std::vector<std::span<std::byte>> BlobSlices(std::byte* arena, const ObjectShape& shape,
                                             const std::vector<base::BlockRef>& blocks) {
  std::vector<std::span<std::byte>> slices;
  slices.reserve(blocks.size());
  uint64_t left = shape.layer_bytes;
  for (const base::BlockRef& block : blocks) {
    const uint64_t bytes = std::min(left, shape.block_bytes);
    slices.emplace_back(arena + block.offset, bytes);
    left -= bytes;
  }
  return slices;
}

std::vector<std::span<std::byte>> RecordSlices(std::byte* arena, const ObjectShape& shape,
                                               const std::vector<base::BlockRef>& blocks) {
  if (shape.tokens == 0) return BlobSlices(arena, shape, blocks);
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
