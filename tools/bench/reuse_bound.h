// What any cache of token runs could recover: prompt tokens covered by a run of 32 tokens that an
// earlier call had.
#pragma once

#include <cstdint>
#include <span>

#include "absl/container/flat_hash_set.h"

#include "base/key.h"

namespace cistern::tools {

class ReuseBound {
 public:
  static constexpr size_t kRun = 32;

  // Tokens of `prompt` covered by runs of earlier prompts; then remembers this one's.
  uint64_t Add(std::span<const base::TokenId> prompt);

 private:
  absl::flat_hash_set<uint64_t> seen_;  // hashes of runs
};

}  // namespace cistern::tools
