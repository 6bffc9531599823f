// A small hybrid model and headers of its state, with real keys.
//
// Sizes in bytes: 3 state layers of 352 (temporal 256, conv tail 96), so a checkpoint has 3 blocks
// of 352; a log has blocks of 120 with its tails at the end (of 96 for each layer: 2 blocks and 48
// of a third), of 216 with tails of every token.
#pragma once

#include <vector>

#include "base/key.h"
#include "base/model_spec.h"
#include "base/object.h"
#include "base/state_spec.h"

namespace cistern::storage {

inline base::StateSpec TestState() {
  return {.family = base::StateFamily::kLightning,
          .num_layers = 3,
          .num_heads = 2,
          .num_key_heads = 1,
          .key_dim = 4,
          .value_dim = 8,
          .conv_width = 3,
          .conv_channels = 16};
}

inline uint32_t EndOf(const base::ObjectHeader& header) {
  return header.base_position + header.num_tokens();
}

inline base::ObjectHeader TestStateHeader(const base::ModelSpec& spec, base::ObjectKind kind,
                                          const base::Key& parent_context, uint32_t base_position,
                                          std::vector<base::TokenId> tokens,
                                          const base::Key& previous_state) {
  const base::KeySpace keys(spec.Fingerprint(), "");
  base::ObjectHeader header;
  header.kind = kind;
  header.model = spec.Fingerprint();
  header.tenant = keys.tenant();
  header.tokens = std::move(tokens);
  header.parent_context = parent_context;
  header.context = base::KeySpace::Context(parent_context, keys.Content(header.tokens));
  header.content = base::StateKey(kind, header.context, parent_context);
  header.previous_state = previous_state;
  header.base_position = base_position;
  return header;
}

// The state behind the first `num_tokens` tokens of `chunk`, where that lies in its prompt.
inline base::ObjectHeader TestCheckpoint(const base::ModelSpec& spec,
                                         const base::ObjectHeader& chunk, uint32_t num_tokens,
                                         const base::Key& previous_state = {}) {
  return TestStateHeader(spec, base::ObjectKind::kCheckpoint, chunk.parent_context,
                         chunk.base_position,
                         {chunk.tokens.begin(), chunk.tokens.begin() + num_tokens}, previous_state);
}

inline std::vector<base::TokenId> TestTokens(uint32_t text, uint32_t count) {
  std::vector<base::TokenId> tokens;
  for (uint32_t i = 0; i < count; ++i) tokens.push_back(text * 10000 + i);
  return tokens;
}

// `num_tokens` tokens behind `state`.
inline base::ObjectHeader TestLog(const base::ModelSpec& spec, const base::ObjectHeader& state,
                                  uint32_t text, uint32_t num_tokens,
                                  base::LogTails tails = base::LogTails::kEnd) {
  base::ObjectHeader header =
      TestStateHeader(spec, base::ObjectKind::kLog, state.context, EndOf(state),
                      TestTokens(text, num_tokens), state.context);
  header.tails = tails;
  return header;
}

// The first `num_tokens` tokens of a prompt, from zero state.
inline base::ObjectHeader TestFirstLog(const base::ModelSpec& spec, uint32_t text,
                                       uint32_t num_tokens) {
  const base::Key seed = base::KeySpace(spec.Fingerprint(), "").ContextSeed();
  return TestStateHeader(spec, base::ObjectKind::kLog, seed, 0, TestTokens(text, num_tokens), seed);
}

}  // namespace cistern::storage
