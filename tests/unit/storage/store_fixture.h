// What tests of the store share: small models, headers with real keys, and bytes that can be told
// apart.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/key.h"
#include "base/model_spec.h"
#include "base/object.h"
#include "storage/arena.h"
#include "storage/store.h"

namespace cistern::storage {

inline std::unique_ptr<Arena> TestArena(uint64_t bytes, uint32_t max_handles = 0) {
  return Arena::Create({.bytes = bytes,
                        .max_handles = max_handles,
                        .incarnation = 7,
                        .huge_pages = false,
                        .pre_touch = false})
      .value();
}

// Opaque rows: a page has 16 x layers x row_bytes bytes.
inline base::ModelSpec TestModel(const std::string& name, uint32_t layers, uint32_t row_bytes) {
  base::ModelSpec spec;
  spec.name = name;
  spec.num_layers = layers;
  spec.layout = base::RowLayout::kOpaque;
  spec.row_bytes = row_bytes;
  return spec;
}

// A segment of `num_tokens` tokens that begin with `text`, in the context numbered `past`.
inline base::ObjectHeader TestSegment(const base::ModelSpec& spec, uint32_t text, uint32_t past,
                                      uint32_t num_tokens,
                                      base::Lineage lineage = base::Lineage::kExact) {
  const base::KeySpace keys(spec.Fingerprint(), "");
  base::ObjectHeader header;
  header.model = spec.Fingerprint();
  for (uint32_t i = 0; i < num_tokens; ++i) header.tokens.push_back(text * 10000 + i);
  header.content = keys.Content(header.tokens);
  header.parent_context =
      past == 0 ? keys.ContextSeed() : base::HashBytes(absl::StrCat("past ", past));
  header.context = base::KeySpace::Context(header.parent_context, header.content);
  header.base_position = past * 16;
  header.lineage = lineage;
  return header;
}

inline base::ObjectHeader TestBlob(uint32_t name, uint64_t bytes) {
  base::ObjectHeader header;
  header.kind = base::ObjectKind::kBlob;
  header.content = base::HashBytes(absl::StrCat("blob ", name));
  header.blob_bytes = bytes;
  return header;
}

// Fills blocks with bytes that depend on `seed`, the block's place and the byte's.
inline void FillBlocks(const Arena& arena, const std::vector<base::BlockRef>& blocks,
                       uint64_t block_bytes, uint64_t seed) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (uint64_t at = 0; at + 8 <= block_bytes; at += 8) {
      const uint64_t word = (seed * 0x9e3779b97f4a7c15 + i) ^ at;
      std::memcpy(arena.At(blocks[i].offset + at), &word, 8);
    }
  }
}

// Whether they still hold what FillBlocks wrote, and are still the blocks that the references name.
inline bool BlocksHold(const Arena& arena, const std::vector<base::BlockRef>& blocks,
                       uint64_t block_bytes, uint64_t seed) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (arena.generation(blocks[i].handle) != blocks[i].generation) return false;
    for (uint64_t at = 0; at + 8 <= block_bytes; at += 8) {
      const uint64_t word = (seed * 0x9e3779b97f4a7c15 + i) ^ at;
      if (std::memcmp(arena.At(blocks[i].offset + at), &word, 8) != 0) return false;
    }
  }
  return true;
}

}  // namespace cistern::storage
