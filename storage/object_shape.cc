#include "storage/object_shape.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

#include "storage/stored_header.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kMaxCount = std::numeric_limits<uint32_t>::max();

uint32_t CountOf(uint64_t bytes, uint64_t of_bytes) {
  const uint64_t count = of_bytes == 0 ? 0 : bytes / of_bytes + (bytes % of_bytes != 0 ? 1 : 0);
  return static_cast<uint32_t>(std::min(count, kMaxCount));
}

// What a shape follows from.
struct ShapeInputs {
  base::ObjectKind kind;
  base::LogTails tails;
  uint32_t tokens;
  uint64_t payload_bytes;
};

ObjectShape SegmentShape(const ShapeInputs& in, const base::ModelSpec& spec) {
  return {.layers = spec.num_layers,
          .layer_bytes = uint64_t{in.tokens} * spec.row_bytes,
          .tokens = in.tokens,
          .row_bytes = spec.row_bytes,
          .block_bytes = spec.page_bytes(),
          .payload_bytes = in.payload_bytes};
}

// Of state each block is a layer.
ObjectShape StateShape(const ShapeInputs& in, const base::ModelSpec& spec) {
  const uint64_t block_bytes = in.kind == base::ObjectKind::kCheckpoint
                                   ? spec.state.layer_bytes()
                                   : spec.state.log_token_bytes(in.tails);
  ObjectShape shape{
      .layer_bytes = block_bytes, .block_bytes = block_bytes, .payload_bytes = in.payload_bytes};
  shape.layers = shape.num_blocks();
  return shape;
}

absl::StatusOr<ObjectShape> ShapeFrom(const ShapeInputs& in, const base::ModelSpec* spec,
                                      uint64_t blob_block_bytes) {
  if (in.kind == base::ObjectKind::kBlob) {
    return ObjectShape{.layer_bytes = in.payload_bytes,
                       .block_bytes = blob_block_bytes,
                       .payload_bytes = in.payload_bytes};
  }
  if (!base::IsState(in.kind)) return SegmentShape(in, *spec);
  if (!spec->state.present()) {
    return absl::InvalidArgumentError(absl::StrCat("a ", base::ToString(in.kind), " of ",
                                                   spec->name,
                                                   ", a model whose spec has no state layers"));
  }
  return StateShape(in, *spec);
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
  return ShapeFrom({header.kind, header.tails, header.num_tokens(), header.PayloadBytes(spec)},
                   spec, blob_block_bytes);
}

absl::StatusOr<ObjectShape> ShapeOf(const StoredHeader& header, uint64_t blob_block_bytes) {
  return ShapeFrom({header.kind(), header.tails(), header.num_tokens(), header.payload_bytes()},
                   header.form()->spec, blob_block_bytes);
}

}  // namespace cistern::storage
