// What a node stores, described without its bytes.
//
// A segment is the rows of one chunk, all layers, as one worker computed them in one context. A
// blob is bytes that an engine names and lays out itself. Recurrent state is a function of the
// whole past, so it is known by contexts only:
//
//   checkpoint  the state of all layers behind token t of a prompt. Its tokens are those of the
//               chunk that t lies in, from the chunk's first one on: whoever shares the chunk's
//               beginning finds it as something that begins there, and compares
//   log         the inputs of tokens [t0, t1), which make the state behind t1, or behind some in
//               between, of the one behind t0. It is of no use without that one
//
// Storage keeps headers, the wire carries them, the client builds them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "base/key.h"
#include "base/model_spec.h"

namespace cistern::base {

enum class ObjectKind : uint8_t { kSegment = 0, kBlob = 1, kCheckpoint = 2, kLog = 3 };

constexpr bool IsState(ObjectKind kind) {
  return kind == ObjectKind::kCheckpoint || kind == ObjectKind::kLog;
}

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

// All of a header but its tokens.
struct ObjectHead {
  static constexpr uint32_t kMaxTokens = 4096;  // of one segment
  static constexpr uint64_t kMaxBlobBytes = 1ull << 30;

  ObjectKind kind = ObjectKind::kSegment;
  Key model;            // fingerprint; zero for a blob
  uint64_t tenant = 0;  // base::TenantOf(salt)
  Key content;          // of the tokens; for a blob, of its name; for state, StateKey's
  Key context;          // of everything from position 0 to the last token's end; for a blob, zero
  Key parent_context;   // the context at the first token; of a log: of the state that it needs
  // Of the state that this one was computed from, directly: zero when it was computed from the
  // beginning. A log's is its parent context. Zero for a segment.
  Key previous_state;
  uint32_t base_position = 0;  // of the first token
  RotaryEncoding encoding = RotaryEncoding::kUnrotated;
  RotaryArithmetic arithmetic = RotaryArithmetic::kFp32Table;
  Lineage lineage = Lineage::kExact;
  LogTails tails = LogTails::kEnd;  // of a log
  uint64_t blob_bytes = 0;          // of a blob

  // Of a header with so many tokens. InvalidArgument: an unknown kind, encoding, arithmetic,
  // lineage or tails; no tokens or too many, a position that overflows, a zero key, an empty blob
  // or one over the bound, blob_bytes of what is none; state whose content is not StateKey's, which
  // is approximate or has a rotary encoding, or a log whose parent is not its previous state.
  absl::Status Validate(uint64_t num_tokens) const;

  friend bool operator==(const ObjectHead&, const ObjectHead&) = default;
};

struct ObjectHeader : ObjectHead {
  std::vector<TokenId> tokens;  // of all but a blob

  uint32_t num_tokens() const { return static_cast<uint32_t>(tokens.size()); }

  // Without the padding of pages and blocks. `spec` is the model's; a blob needs none, and anything
  // else has 0 bytes without one.
  uint64_t PayloadBytes(const ModelSpec* spec) const;

  absl::Status Validate() const { return ObjectHead::Validate(tokens.size()); }

  friend bool operator==(const ObjectHeader&, const ObjectHeader&) = default;
};

// What state is called: H(kind, context, parent context). It has no content of its own.
Key StateKey(ObjectKind kind, const Key& context, const Key& parent_context);

absl::string_view ToString(ObjectKind kind);
absl::string_view ToString(RotaryEncoding encoding);
absl::string_view ToString(RotaryArithmetic arithmetic);
absl::string_view ToString(Lineage lineage);

}  // namespace cistern::base
