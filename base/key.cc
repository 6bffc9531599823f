#include "base/key.h"

#include <bit>

#define XXH_INLINE_ALL
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "xxhash.h"

namespace cistern::base {
namespace {

static_assert(std::endian::native == std::endian::little, "keys are hashes of little-endian bytes");

Key FromXxh(XXH128_hash_t hash) { return Key{hash.high64, hash.low64}; }

// Domain words keep the three kinds of hash apart even for equal inputs.
Key Seed(absl::string_view domain, const Key& model, absl::string_view salt) {
  std::string bytes = absl::StrCat(domain, absl::string_view("\0", 1));
  bytes.append(reinterpret_cast<const char*>(&model), sizeof(model));
  absl::StrAppend(&bytes, salt);
  return HashBytes(bytes);
}

bool ParseHex(absl::string_view digits, uint64_t* out) {
  *out = 0;
  for (char c : digits) {
    int value = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (value < 0) return false;
    *out = *out << 4 | static_cast<uint64_t>(value);
  }
  return true;
}

}  // namespace

std::string Key::ToHex() const { return absl::StrFormat("%016x%016x", hi, lo); }

absl::StatusOr<Key> Key::FromHex(absl::string_view hex) {
  Key key;
  if (hex.size() != 32 || !ParseHex(hex.substr(0, 16), &key.hi) ||
      !ParseHex(hex.substr(16), &key.lo)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", hex, "' is not a key: a key is 32 hex digits, as 'cistern ls' prints them"));
  }
  return key;
}

KeySpace::KeySpace(const Key& model_fingerprint, absl::string_view salt)
    : content_seed_(Seed("content", model_fingerprint, salt)),
      context_seed_(Seed("context", model_fingerprint, salt)),
      tenant_(TenantOf(salt)) {}

Key KeySpace::Content(std::span<const TokenId> tokens) const {
  // Seeding by a 64-bit seed alone would throw half of the seed away: the second half goes in by
  // xor.
  Key key = FromXxh(XXH3_128bits_withSeed(tokens.data(), tokens.size_bytes(), content_seed_.lo));
  key.hi ^= content_seed_.hi;
  return key;
}

Key KeySpace::Context(const Key& previous_context, const Key& content) {
  const Key both[2] = {previous_context, content};
  return FromXxh(XXH3_128bits(both, sizeof(both)));
}

uint64_t TenantOf(absl::string_view salt) {
  return salt.empty() ? 0 : HashBytes(absl::StrCat("tenant:", salt)).lo;
}

Key HashBytes(std::span<const std::byte> bytes) {
  return FromXxh(XXH3_128bits(bytes.data(), bytes.size()));
}
Key HashBytes(absl::string_view bytes) { return FromXxh(XXH3_128bits(bytes.data(), bytes.size())); }

}  // namespace cistern::base
