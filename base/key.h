// Keys: what a segment is called.
//
//   content   = H(model, salt, tokens)             same text, any position, any context
//   context_i = H(context_{i-1}, content_i)        same text, same past; seeded by (model, salt)
//
// H is XXH3-128 over little-endian bytes, so a key is the same in every process and on every
// machine. A hash is never trusted alone: whoever uses the bytes behind a key compares the token
// ids first. The salt isolates tenants: without it nobody can ask for another tenant's text.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::base {

using TokenId = uint32_t;

// 128 bits of hash. The zero key names nothing.
struct Key {
  uint64_t hi = 0;
  uint64_t lo = 0;

  bool IsZero() const { return hi == 0 && lo == 0; }
  std::string ToHex() const;  // 32 lower-case hex digits, hi first

  // InvalidArgument unless `hex` is exactly 32 hex digits.
  static absl::StatusOr<Key> FromHex(absl::string_view hex);

  friend auto operator<=>(const Key&, const Key&) = default;

  template <typename H>
  friend H AbslHashValue(H h, const Key& key) {
    return H::combine(std::move(h), key.lo);  // already uniform; hi is compared by ==
  }
};

// What a tenant's keys are seeded with: the model's fingerprint and the tenant's salt (may be
// empty).
class KeySpace {
 public:
  KeySpace(const Key& model_fingerprint, absl::string_view salt);

  Key Content(std::span<const TokenId> tokens) const;
  Key ContextSeed() const { return context_seed_; }  // the context before position 0
  static Key Context(const Key& previous_context, const Key& content);

  // A name for the tenant that does not give the salt away; zero for the empty salt.
  uint64_t tenant() const { return tenant_; }

 private:
  Key content_seed_;
  Key context_seed_;
  uint64_t tenant_;
};

// The same name, from a salt alone.
uint64_t TenantOf(absl::string_view salt);

// XXH3-128 of plain bytes, for fingerprints and checksums.
Key HashBytes(std::span<const std::byte> bytes);
Key HashBytes(absl::string_view bytes);

}  // namespace cistern::base
