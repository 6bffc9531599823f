// What the bytes of one model mean.
//
// A row is what one token leaves in one MLA layer: the latent c_KV and the small rotary key k_r.
// The spec says how many layers there are, how a row is laid out, how its rotary part turns with
// position, and what the recurrent layers of a hybrid model keep. Its fingerprint seeds every key:
// another model, revision, layout or rotary setting, other keys.
//
// Source of the layouts: vLLM concat_and_cache_mla (bf16_576), FlashMLA README (fp8_ds_mla_656).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/key.h"
#include "base/state_spec.h"

namespace cistern::base {

enum class RowLayout : uint8_t {
  kBf16_576 = 0,     // [c_KV 512 x bf16 | k_r 64 x bf16], 1152 bytes
  kFp8DsMla656 = 1,  // [c_KV 512 x e4m3 | 4 x fp32 scale, powers of two | k_r 64 x bf16], 656 bytes
  kOpaque = 2,       // row_bytes bytes that nobody looks into; reused only exactly, never rotated
};

enum class RotaryStyle : uint8_t {
  kInterleaved = 0,  // pairs (k[2i], k[2i+1]): DeepSeek, Kimi, GLM, as engines cache them
  kHalf = 1,         // pairs (k[i], k[i + dim/2]): "neox"
  kNone = 2,         // NoPE: the rotary part is position free, moving a row is a copy
};

enum class RotaryScaling : uint8_t { kNone = 0, kLinear = 1, kYarn = 2 };

// How k_r turns with position: pair i turns by position * inv_freq[i]; the table is multiplied by
// mscale.
struct RotarySpec {
  RotaryStyle style = RotaryStyle::kInterleaved;
  uint32_t dim = 64;  // elements; pairs = dim / 2
  double theta = 10000.0;
  RotaryScaling scaling = RotaryScaling::kNone;
  double factor = 1.0;  // linear and YaRN
  double original_max_position = 4096;
  double beta_fast = 32;  // YaRN
  double beta_slow = 1;
  double mscale = 1.0;
  double mscale_all_dim = 1.0;
  double attention_factor = 1.0;

  // InvalidArgument, naming the field: an unknown style or scaling, an odd or oversized dim, a
  // parameter that is not a number or lies outside of what any model has. What passes gives
  // finite frequencies.
  absl::Status Validate() const;

  // Per pair, in double; YaRN-blended. Source: DeepSeek-V3 inference/model.py precompute_freqs_cis.
  std::vector<double> InverseFrequencies() const;
  // What cos and sin are multiplied by: yarn_get_mscale(factor, mscale) / yarn_get_mscale(factor,
  // mscale_all_dim).
  double TableScale() const;

  friend bool operator==(const RotarySpec&, const RotarySpec&) = default;
};

struct ModelSpec {
  static constexpr uint32_t kPageTokens = 16;  // tokens of one KV page
  static constexpr uint32_t kMaxLayers = 1024;
  static constexpr uint32_t kMaxRowBytes = 1 << 16;
  static constexpr uint32_t kMaxBoundaryTokens = 4096;
  static constexpr uint32_t kMaxTextBytes = 512;  // of name and of revision

  std::string name;         // as people call it, e.g. "deepseek-ai/DeepSeek-V2-Lite"
  std::string revision;     // of the weights; other weights, other rows
  uint32_t num_layers = 0;  // that keep rows: MLA, or attention of any kind with opaque rows
  RowLayout layout = RowLayout::kBf16_576;
  uint32_t row_bytes = 1152;
  RotarySpec rotary;
  StateSpec state;                       // of the recurrent layers of a hybrid model
  std::vector<TokenId> boundary_tokens;  // role and turn markers: the chunker cuts before each; not
                                         // in the fingerprint
  uint64_t flops_per_token = 0;          // dense prefill cost of one token at depth 0; 0 = unknown
  uint64_t flops_per_token_pair =
      0;  // attention cost of one (query, key) pair over all layers; 0 = unknown

  // Where k_r lies in a row, also of a NoPE model, whose k_r does not turn. An opaque row has none.
  uint32_t rotary_offset() const { return row_bytes - rotary_bytes(); }
  uint32_t rotary_bytes() const { return layout == RowLayout::kOpaque ? 0 : rotary.dim * 2; }
  bool movable() const { return layout != RowLayout::kOpaque; }

  uint64_t token_bytes() const { return uint64_t{num_layers} * row_bytes; }
  uint64_t page_bytes() const { return kPageTokens * token_bytes(); }

  // InvalidArgument, naming the field: no name, a name or revision that is too long or not plain
  // UTF-8 text, zero or too many layers, too many boundary tokens, a row size or rotary dim that is
  // not the layout's, or what RotarySpec::Validate and StateSpec::Validate refuse.
  absl::Status Validate() const;

  // Canonical JSON text: the form that travels and that is stored. FromJson(ToJson()) is the same
  // spec, when it is valid. FromJson returns only valid specs; InvalidArgument names the field.
  std::string ToJson() const;
  static absl::StatusOr<ModelSpec> FromJson(absl::string_view json);

  // Of everything but boundary_tokens and the FLOP figures.
  Key Fingerprint() const;

  friend bool operator==(const ModelSpec&, const ModelSpec&) = default;
};

// The size that `layout` prescribes; 0 for opaque.
uint32_t RowBytes(RowLayout layout);
absl::string_view ToString(RowLayout layout);
absl::StatusOr<RowLayout> ParseRowLayout(absl::string_view text);
absl::string_view ToString(RotaryStyle style);
absl::string_view ToString(RotaryScaling scaling);

}  // namespace cistern::base
