#include "tools/bench/prefix_bound.h"

#include "tools/bench/prefix_hash.h"

namespace cistern::tools {

uint64_t PrefixBound::Add(std::span<const base::TokenId> sequence, size_t prompt_tokens) {
  uint64_t known = 0, prefix = kNoTokens;
  for (size_t i = 0; i < sequence.size(); ++i) {
    prefix = ExtendPrefix(prefix, sequence[i]);
    const bool fresh = seen_.insert(prefix).second;
    if (!fresh && known == i && i + 1 < prompt_tokens) ++known;
  }
  return known;
}

}  // namespace cistern::tools
