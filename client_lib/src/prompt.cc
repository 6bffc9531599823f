#include "client_lib/src/prompt.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "client_lib/src/chunker.h"

namespace cistern::client {

absl::StatusOr<Prompt> MakePrompt(const Model& model, std::span<const base::TokenId> tokens,
                                  std::span<const uint32_t> part_boundaries) {
  if (tokens.size() > kMaxPromptTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("a prompt of ", tokens.size(), " tokens: at most ", kMaxPromptTokens));
  }
  uint32_t before = 0;
  for (uint32_t boundary : part_boundaries) {
    if (boundary < before || boundary > tokens.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("part boundary ", boundary, " after ", before, " in a prompt of ",
                       tokens.size(), " tokens: boundaries ascend and lie within the prompt"));
    }
    before = boundary;
  }
  Prompt prompt{tokens, {}};
  const std::vector<uint32_t> ends =
      ChunkEnds(tokens, part_boundaries, model.spec().boundary_tokens);
  prompt.chunks.reserve(ends.size());
  uint32_t begin = 0;
  base::Key context = model.keys().ContextSeed();
  for (uint32_t end : ends) {
    Chunk chunk{begin, end, model.keys().Content(prompt.Tokens(begin, end)), context, {}};
    chunk.context = context = base::KeySpace::Context(context, chunk.content);
    prompt.chunks.push_back(chunk);
    begin = end;
  }
  return prompt;
}

}  // namespace cistern::client
