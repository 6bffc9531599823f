// What a node stores, described without its bytes.
//
// A segment is the rows of one chunk, all layers, as one worker computed them in one context. A
// blob is bytes that an engine names and lays out itself. Storage keeps headers, the wire carries
// them, the client builds them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "base/key.h"
#include "base/model_spec.h"

namespace cistern::base {

enum class ObjectKind : uint8_t { kSegment = 0, kBlob = 1 };

// How k_r lies in a segment's rows.
enum class RotaryEncoding : uint8_t {
  kUnrotated = 0,  // before RoPE: the reader applies its own arithmetic and gets the very bytes it
                   // would have computed
  kRotated = 1,    // after RoPE at base_position, by the arithmetic named in the header
};

// The writer's rotary arithmetic; it matters only for kRotated. Source: reference arithmetic of
// vLLM, SGLang, HF.
enum class RotaryArithmetic : uint8_t {
  kFp32Table = 0,  // fp32 table, fp32 math, one rounding
  kBf16Table = 1,  // bf16 table, fp32 math, one rounding
  kBf16PerOp = 2,  // bf16 table, every operation rounded to bf16
};

// Whether everything before and inside the segment was computed, or some of its past had been
// reused by content. Only kExact rows are lossless; the policy `exact` takes no others.
enum class Lineage : uint8_t { kExact = 0, kApproximate = 1 };

struct ObjectHeader {
  static constexpr uint32_t kMaxTokens = 4096;  // of one segment
  static constexpr uint64_t kMaxBlobBytes = 1ull << 30;

  ObjectKind kind = ObjectKind::kSegment;
  Key model;            // fingerprint; zero for a blob
  uint64_t tenant = 0;  // base::TenantOf(salt)
  Key content;          // of the tokens; for a blob, of its name
  Key context;          // of everything from position 0 to the segment's end; for a blob, zero
  Key parent_context;   // the context at the segment's first token
  uint32_t base_position = 0;
  RotaryEncoding encoding = RotaryEncoding::kUnrotated;
  RotaryArithmetic arithmetic = RotaryArithmetic::kFp32Table;
  Lineage lineage = Lineage::kExact;
  std::vector<TokenId> tokens;  // of a segment
  uint64_t blob_bytes = 0;      // of a blob

  uint32_t num_tokens() const { return static_cast<uint32_t>(tokens.size()); }

  // Bytes of rows (or of the blob), without page padding. `token_bytes` is the model's.
  uint64_t PayloadBytes(uint64_t token_bytes) const {
    return kind == ObjectKind::kBlob ? blob_bytes : tokens.size() * token_bytes;
  }

  // InvalidArgument: an unknown kind, encoding, arithmetic or lineage; no tokens or too many, a
  // position that overflows, a zero key, an empty blob or one over the bound.
  absl::Status Validate() const;

  friend bool operator==(const ObjectHeader&, const ObjectHeader&) = default;
};

absl::string_view ToString(ObjectKind kind);
absl::string_view ToString(RotaryEncoding encoding);
absl::string_view ToString(RotaryArithmetic arithmetic);
absl::string_view ToString(Lineage lineage);

}  // namespace cistern::base
