// A token sequence as chunks with their keys: what is asked for and what is published.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/key.h"
#include "client_lib/src/model_book.h"

namespace cistern::client {

struct Chunk {
  uint32_t begin = 0;  // token positions, [begin, end)
  uint32_t end = 0;
  base::Key content;
  base::Key parent_context;  // of everything before `begin`
  base::Key context;         // of everything before `end`

  uint32_t num_tokens() const { return end - begin; }
};

struct Prompt {
  std::span<const base::TokenId> tokens;
  std::vector<Chunk> chunks;  // without gaps, the last one ends at tokens.size()

  std::span<const base::TokenId> Tokens(uint32_t begin, uint32_t end) const {
    return tokens.subspan(begin, end - begin);
  }
};

inline constexpr uint32_t kMaxPromptTokens = 1u << 25;  // the rotary tables' bound

// Cuts and names. `tokens` outlives the result.
// InvalidArgument: part boundaries that descend or lie past the end, more than kMaxPromptTokens.
absl::StatusOr<Prompt> MakePrompt(const Model& model, std::span<const base::TokenId> tokens,
                                  std::span<const uint32_t> part_boundaries);

}  // namespace cistern::client
