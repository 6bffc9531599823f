#include "storage/object_shape.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kMaxCount = std::numeric_limits<uint32_t>::max();

uint32_t CountOf(uint64_t bytes, uint64_t of_bytes) {
  const uint64_t count = of_bytes == 0 ? 0 : bytes / of_bytes + (bytes % of_bytes != 0 ? 1 : 0);
  return static_cast<uint32_t>(std::min(count, kMaxCount));
}

ObjectShape SegmentShape(const base::ObjectHeader& header, const base::ModelSpec& spec) {
  return {.layers = spec.num_layers,
          .layer_bytes = uint64_t{header.num_tokens()} * spec.row_bytes,
          .tokens = header.num_tokens(),
          .row_bytes = spec.row_bytes,
          .block_bytes = spec.page_bytes(),
          .payload_bytes = header.PayloadBytes(&spec)};
}

// Of state each block is a layer.
ObjectShape StateShape(const base::ObjectHeader& header, const base::ModelSpec& spec) {
  const uint64_t block_bytes = header.kind == base::ObjectKind::kCheckpoint
                                   ? spec.state.layer_bytes()
                                   : spec.state.log_token_bytes(header.tails);
  ObjectShape shape{.layer_bytes = block_bytes,
                    .block_bytes = block_bytes,
                    .payload_bytes = header.PayloadBytes(&spec)};
  shape.layers = shape.num_blocks();
  return shape;
}

}  // namespace

uint32_t ObjectShape::num_blocks() const {
  return is_segment() ? CountOf(tokens, base::ModelSpec::kPageTokens)
                      : CountOf(payload_bytes, block_bytes);
}

uint64_t ObjectShape::LayerBytes(uint32_t begin, uint32_t end) const {
  return std::min(payload_bytes, end * layer_bytes) - std::min(payload_bytes, begin * layer_bytes);
}

absl::StatusOr<ObjectShape> ShapeOf(const base::ObjectHeader& header, const base::ModelSpec* spec,
                                    uint64_t blob_block_bytes) {
  if (header.kind == base::ObjectKind::kBlob) {
    return ObjectShape{.layer_bytes = header.blob_bytes,
                       .block_bytes = blob_block_bytes,
                       .payload_bytes = header.blob_bytes};
  }
  if (!base::IsState(header.kind)) return SegmentShape(header, *spec);
  if (!spec->state.present()) {
    return absl::InvalidArgumentError(absl::StrCat("a ", base::ToString(header.kind), " of ",
                                                   spec->name,
                                                   ", a model whose spec has no state layers"));
  }
  return StateShape(header, *spec);
}

}  // namespace cistern::storage
