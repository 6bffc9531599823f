// A sequence's rows as one value of a key-value store: what a worker whose cache is paged sends and
// gets there.
//
// Shapes   [layer][token][row_bytes], nothing between
// Thread   any; keeps no state
#pragma once

#include <cstddef>
#include <cstdint>

#include "tools/bench/transfer/paged_objects.h"

namespace cistern::tools {

// Sequence `i` of `from`, all of its layers and tokens.
void GatherValue(const PagedObjects& from, uint32_t i, std::byte* value);
void ScatterValue(const std::byte* value, uint32_t i, const PagedObjects& into);

// Rows of sequence `i` that are not, bit for bit, the same in both, which have the same shape and
// tokens.
uint64_t DifferentRows(const PagedObjects& came, const PagedObjects& sent, uint32_t i);

}  // namespace cistern::tools
