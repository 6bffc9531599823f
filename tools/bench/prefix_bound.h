// What a prefix cache that can resume at any token could recover: prompt tokens before the first
// one that no earlier sequence went on with.
#pragma once

#include <cstdint>
#include <span>

#include "absl/container/flat_hash_set.h"

#include "base/key.h"

namespace cistern::tools {

class PrefixBound {
 public:
  // Tokens of the first `prompt_tokens` of `sequence` that an earlier sequence began with, but not
  // the prompt's last one; then remembers all of this one.
  uint64_t Add(std::span<const base::TokenId> sequence, size_t prompt_tokens);

 private:
  absl::flat_hash_set<uint64_t> seen_;  // hashes of prefixes
};

}  // namespace cistern::tools
