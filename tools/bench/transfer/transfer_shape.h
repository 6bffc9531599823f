// What is moved: so many tokens of a model with so many layers, as near to a size as whole rows
// come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/model_spec.h"

namespace cistern::tools {

struct TransferShape {
  std::string name;  // "1MiB", "deepseek-v3 segment"
  base::ModelSpec model;
  uint32_t tokens = 0;

  uint64_t bytes() const { return tokens * model.token_bytes(); }
};

inline constexpr uint64_t kMinTransferBytes = 1152;  // a row
inline constexpr uint64_t kMaxTransferBytes = 256ull << 20;
inline constexpr uint32_t kSegmentTokens = 128;  // an average chunk

// "64KiB": rows of DeepSeek-V2-Lite, as many of its layers as leave about a chunk of tokens; within
// a row of that size. A preset's name ("deepseek-v3"): a segment of kSegmentTokens of the whole
// model. InvalidArgument: neither, or a size out of bounds.
absl::StatusOr<TransferShape> ParseTransferShape(absl::string_view word);

// Words with commas between them. InvalidArgument also for none.
absl::StatusOr<std::vector<TransferShape>> ParseTransferShapes(absl::string_view words);

// The names of paths, in the order in which they are measured; each once, all known.
const std::vector<std::string>& AllTransferPaths();
absl::StatusOr<std::vector<std::string>> ParseTransferPaths(absl::string_view words);

}  // namespace cistern::tools
