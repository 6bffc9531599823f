#include "base/hash_parts.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

namespace cistern::base {

Key HashParts(std::span<const std::span<const std::byte>> parts) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  for (const auto& part : parts) XXH3_128bits_update(&state, part.data(), part.size());
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  return Key{hash.high64, hash.low64};
}

}  // namespace cistern::base
