// Prompts as lists of blocks of 512 tokens, in order of arrival.
//
// File     one JSON object a line, as Mooncake publishes its traces: {"timestamp": ms,
//          "input_length": tokens, "output_length": tokens, "hash_ids": [one a block]}. Timestamps
//          do not go back; the last block holds the tokens that are left. Other fields are ignored.
// Source   Qin et al., "Mooncake: A KVCache-centric disaggregated architecture for LLM serving"
//          (arXiv 2407.00079)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::tools {

inline constexpr uint32_t kTraceBlockTokens = 512;

// Blocks are numbered from 0 as they come. A block is its hash and everything before it: the same
// hash after another block is another block.
struct BlockRequest {
  uint32_t input_tokens = 0;
  std::vector<uint32_t> blocks;  // one at least

  uint32_t BlockTokens(size_t index) const;
};

struct BlockTrace {
  std::vector<BlockRequest> requests;
  uint32_t num_blocks = 0;  // different ones: the footprint
};

// InvalidArgument names the line and what is wrong with it; `source` is what it calls the file.
absl::StatusOr<BlockTrace> ParseBlockTrace(absl::string_view source, absl::string_view jsonl);

// NotFound: no such file.
absl::StatusOr<BlockTrace> LoadBlockTrace(const std::string& path);

// 4,000 prompts of conversations that come and go: one of four common beginnings, then turns that
// each carry all turns before; 40 % of the conversations end after one. Always the same.
BlockTrace SyntheticBlockTrace();

}  // namespace cistern::tools
