// How the payload of one object is cut: into blocks of a pool, and into the layers that a Read or a
// Write names.
//
//   segment     a block is a page of 16 tokens of all layers; a layer is the rows of all tokens
//   blob        blocks of the node's blob_block_bytes; one layer
//   checkpoint  a block is one state layer; a layer is a block
//   log         a block is one token, and the conv tails at the end take as many more as they need,
//               of which the last may be part full; a layer is a block (base/state_spec.h)
//
// Thread   any
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

#include "base/model_spec.h"
#include "base/object.h"

namespace cistern::storage {

struct ObjectShape {
  uint32_t layers = 1;
  uint64_t layer_bytes = 0;  // of one layer; the last one of a log may have fewer
  uint32_t tokens = 0;       // of a segment; 0: the bytes fill block after block
  uint32_t row_bytes = 0;    // of a segment
  uint64_t block_bytes = 0;
  uint64_t payload_bytes = 0;

  // At most 2^32 - 1, which is more than any arena has.
  uint32_t num_blocks() const;
  // Of layers [begin, end) of it.
  uint64_t LayerBytes(uint32_t begin, uint32_t end) const;
  bool is_segment() const { return tokens > 0; }

  friend bool operator==(const ObjectShape&, const ObjectShape&) = default;
};

// `header` is valid; `spec` is its model's, null for a blob. InvalidArgument: state of a model that
// has no state layers.
absl::StatusOr<ObjectShape> ShapeOf(const base::ObjectHeader& header, const base::ModelSpec* spec,
                                    uint64_t blob_block_bytes);

// Of what is stored, without a copy of its tokens. Errors likewise.
struct StoredHeader;
absl::StatusOr<ObjectShape> ShapeOf(const StoredHeader& header, uint64_t blob_block_bytes);

}  // namespace cistern::storage
