#include "tools/bench/peers/value_layout.h"

#include <algorithm>
#include <cstring>

namespace cistern::tools {
namespace {

// Calls `copy(rows, at, bytes)` for each run of rows that lie one behind the other in their block,
// and the place in the value where they go.
template <typename Copy>
void ForEachRun(const PagedObjects& objects, uint32_t i, const Copy& copy) {
  const auto tokens = static_cast<uint32_t>(objects.tokens(i).size());
  const uint64_t row_bytes = objects.spec().row_bytes;
  uint64_t at = 0;
  for (uint32_t layer = 0; layer < objects.spec().num_layers; ++layer) {
    for (uint32_t token = 0; token < tokens; token += PagedObjects::kBlockTokens) {
      const uint32_t run = std::min(PagedObjects::kBlockTokens, tokens - token);
      copy(objects.Row(i, layer, token), at, run * row_bytes);
      at += run * row_bytes;
    }
  }
}

}  // namespace

void GatherValue(const PagedObjects& from, uint32_t i, std::byte* value) {
  ForEachRun(from, i, [value](const std::byte* rows, uint64_t at, uint64_t bytes) {
    std::memcpy(value + at, rows, bytes);
  });
}

void ScatterValue(const std::byte* value, uint32_t i, const PagedObjects& into) {
  ForEachRun(into, i, [value](std::byte* rows, uint64_t at, uint64_t bytes) {
    std::memcpy(rows, value + at, bytes);
  });
}

uint64_t DifferentRows(const PagedObjects& came, const PagedObjects& sent, uint32_t i) {
  uint64_t different = 0;
  for (uint32_t layer = 0; layer < sent.spec().num_layers; ++layer) {
    for (uint32_t token = 0; token < sent.tokens(i).size(); ++token) {
      const std::byte* const row = came.Row(i, layer, token);
      if (std::memcmp(row, sent.Row(i, layer, token), sent.spec().row_bytes) != 0) ++different;
    }
  }
  return different;
}

}  // namespace cistern::tools
